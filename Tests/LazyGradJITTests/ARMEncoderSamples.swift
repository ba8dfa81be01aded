// Samples of every AArch64 instruction for the tests of its encoder: each form with registers of all kinds and
// numbers at the ends of their fields, and the assembly text that it must mean. The text comes from a row's
// name and shape; its word plays no part in it.

import LazyGradJIT

/// An instruction and how an assembler writes it.
struct ARMSample: Sendable {
  /// The form that it belongs to: one line of the golden table.
  let group: String
  let text: String
  let emit: @Sendable (inout ARMAssembler) -> Void
}

extension NeonLanes {
  fileprivate var text: String {
    switch self {
    case .h8: "8h"
    case .s2: "2s"
    case .s4: "4s"
    case .d2: "2d"
    }
  }
  fileprivate var bytes: String { self == .s2 ? "8b" : "16b" }
  /// As many lanes, half as wide.
  fileprivate var half: String {
    switch self {
    case .h8: "8b"
    case .s2: "2h"
    case .s4: "4h"
    case .d2: "2s"
    }
  }
}

extension NeonOp {
  private static let registers: [(UInt8, UInt8, UInt8)] = [(0, 1, 2), (31, 30, 29), (8, 16, 15)]

  var samples: [ARMSample] {
    form.lanes.flatMap { lanes in
      Self.registers.flatMap { registers in numbers(lanes).map { sample(lanes, registers, $0) } }
    }
  }

  /// Counts of shifts and numbers of elements.
  private func numbers(_ lanes: NeonLanes) -> [Int] {
    let bits = 8 * lanes.size
    switch form.shape {
    case .shiftLeft: return [0, 1, bits - 1]
    case .shiftRight: return [1, 7, bits]
    case .element: return Array(0..<(16 / lanes.size))
    default: return [0]
    }
  }

  private func sample(
    _ lanes: NeonLanes, _ registers: (UInt8, UInt8, UInt8), _ number: Int
  ) -> ARMSample {
    let (d, n, m) = registers
    let own = form.size == .none ? lanes.bytes : lanes.text
    let operands: [String]
    switch form.shape {
    case .three: operands = ["v\(d).\(own)", "v\(n).\(own)", "v\(m).\(own)"]
    case .two: operands = ["v\(d).\(own)", "v\(n).\(own)"]
    case .table: operands = ["v\(d).\(own)", "{ v\(n).16b }", "v\(m).\(own)"]
    case .widen:
      let shift = self == .shll ? ["#\(4 * lanes.size)"] : []
      operands = ["v\(d).\(own)", "v\(n).\(lanes.half)"] + shift
    case .widenTwo: operands = ["v\(d).\(own)", "v\(n).\(lanes.half)", "v\(m).\(lanes.half)"]
    case .narrow: operands = ["v\(d).\(lanes.half)", "v\(n).\(own)"]
    case .shiftLeft, .shiftRight: operands = ["v\(d).\(own)", "v\(n).\(own)", "#\(number)"]
    case .shiftNarrow: operands = ["v\(d).\(lanes.half)", "v\(n).\(own)", "#\(4 * lanes.size)"]
    case .element:
      let element = lanes.size == 4 ? "s" : "d"
      operands = ["v\(d).\(own)", "v\(n).\(own)", "v\(m).\(element)[\(number)]"]
    }
    return ARMSample(
      group: "\(self) \(lanes)", text: "\(form.name) " + operands.joined(separator: ", ")
    ) { $0.vector(self, lanes, d, n, m, number: number) }
  }
}

enum ARMSamples {
  static let all: [ARMSample] =
    NeonOp.allCases.flatMap(\.samples) + moves + elements + pairs + scalars + general + accesses

  private static let vectors: [UInt8] = [0, 7, 31]
  private static let bases: [ARMRegister] = [.x0, .x17, .sp]

  private static func name(_ part: NeonPart, _ r: UInt8) -> String { "\(part)\(r)" }

  // MARK: Vectors and memory

  private static let moves: [ARMSample] = NeonPart.allCases.flatMap { part in
    vectors.flatMap { r in
      bases.flatMap { base in
        [0, part.size, 4095 * part.size, -1, -256, 255].flatMap { offset -> [ARMSample] in
          // What is no multiple of the size has an instruction with another name.
          let isScaled = offset >= 0 && offset % part.size == 0 && offset / part.size < 4096
          let place = ARMAddress(base, offset)
          let text = "\(name(part, r)), [\(base), #\(offset)]"
          return [
            ARMSample(group: "load \(part)", text: (isScaled ? "ldr " : "ldur ") + text) {
              $0.load(part, r, place)
            },
            ARMSample(group: "store \(part)", text: (isScaled ? "str " : "stur ") + text) {
              $0.store(part, r, place)
            },
          ]
        }
      }
    }
  }

  private static let elements: [ARMSample] = {
    var samples: [ARMSample] = []
    for part in NeonPart.allCases {
      for r in vectors {
        for base in bases {
          samples.append(
            ARMSample(
              group: "first \(part)", text: "ldr \(name(part, r)), [\(base)], #\(part.size)"
            ) { $0.loadFirst(part, r, next: base) })
          samples.append(
            ARMSample(
              group: "first \(part)", text: "str \(name(part, r)), [\(base)], #\(part.size)"
            ) { $0.storeFirst(part, r, next: base) })
          for number in 0..<(part == .q ? 0 : 16 / part.size) {
            let text = "{v\(r).\(part)}[\(number)], [\(base)], #\(part.size)"
            samples.append(
              ARMSample(group: "element \(part)", text: "ld1 " + text) {
                $0.loadElement(part, r, number, next: base)
              })
            samples.append(
              ARMSample(group: "element \(part)", text: "st1 " + text) {
                $0.storeElement(part, r, number, next: base)
              })
          }
        }
      }
    }
    for lanes in NeonLanes.allCases {
      for (r, n, base) in [(0, 31, ARMRegister.x3), (31, 0, .x17)] as [(UInt8, UInt8, ARMRegister)]
      {
        samples.append(
          ARMSample(group: "all \(lanes)", text: "ld1r {v\(r).\(lanes.text)}, [\(base)]") {
            $0.loadAll(lanes, r, base)
          })
        samples.append(
          ARMSample(group: "all \(lanes)", text: "ld1r {v\(r).\(lanes.text)}, [\(base)], x7") {
            $0.loadAll(lanes, r, base, next: .x7)
          })
        for count in 1...4 {
          let names = (0..<count).map { "v\((Int(r) + $0) % 32).\(lanes.text)" }
          let text = "ld1 {\(names.joined(separator: ", "))}, [\(base)], x16"
          samples.append(
            ARMSample(group: "row \(lanes)", text: text) {
              $0.loadRow(lanes, r, count: count, base, next: .x16)
            })
        }
        let letter = lanes.text.suffix(1)
        let whole: Int = 16 / lanes.size
        for number in 0..<whole {
          samples.append(
            ARMSample(
              group: "repeat \(lanes)", text: "dup v\(r).\(lanes.text), v\(n).\(letter)[\(number)]"
            ) { $0.repeatElement(lanes, r, n, number) })
          samples.append(
            ARMSample(
              group: "insert \(lanes)", text: "mov v\(r).\(letter)[\(number)], v\(n).\(letter)[0]"
            ) { $0.insertFirst(lanes, r, number, n) })
        }
        let general = lanes == .d2 ? "\(base)" : "w\(base.rawValue)"
        samples.append(
          ARMSample(group: "repeat \(lanes)", text: "dup v\(r).\(lanes.text), \(general)") {
            $0.repeatRegister(lanes, r, base)
          })
      }
    }
    return samples
  }()

  private static let pairs: [ARMSample] = [(0, 1), (31, 8)].flatMap { pair -> [ARMSample] in
    let (a, b) = (UInt8(pair.0), UInt8(pair.1))
    return [0, 1, 63, -64].flatMap { offset -> [ARMSample] in
      let (whole, half) = (ARMAddress(.sp, 16 * offset), ARMAddress(.x8, 8 * offset))
      return [
        ARMSample(group: "pair q", text: "ldp q\(a), q\(b), [sp, #\(16 * offset)]") {
          $0.loadPair(a, b, whole)
        },
        ARMSample(group: "pair q", text: "stp q\(a), q\(b), [sp, #\(16 * offset)]") {
          $0.storePair(a, b, whole)
        },
        ARMSample(group: "pair d", text: "ldp d\(a), d\(b), [x8, #\(8 * offset)]") {
          $0.loadHalves(a, b, half)
        },
        ARMSample(group: "pair d", text: "stp d\(a), d\(b), [x8, #\(8 * offset)]") {
          $0.storeHalves(a, b, half)
        },
      ]
    }
  }

  private static let scalars: [ARMSample] = {
    var samples: [ARMSample] = [
      ARMSample(group: "pair q", text: "ldp q3, q31, [x7], #32") { $0.loadPair(3, 31, next: .x7) }
    ]
    for (d, n) in [(0, 31), (17, 8)] as [(UInt8, UInt8)] {
      samples += [
        ARMSample(group: "move", text: "mov v\(d).16b, v\(n).16b") { $0.move(d, n) },
        ARMSample(group: "scalar", text: "fcvt d\(d), s\(n)") { $0.scalar(.floatToDouble, d, n) },
        ARMSample(group: "scalar", text: "fcvt s\(d), d\(n)") { $0.scalar(.doubleToFloat, d, n) },
        ARMSample(group: "scalar", text: "fadd d\(d), d\(n), d\(d)") {
          $0.scalar(.addDoubles, d, n, d)
        },
        ARMSample(group: "scalar", text: "scvtf s\(d), x9") { $0.float(d, .x9) },
        ARMSample(group: "extract", text: "fmov x17, d\(n)") { $0.extract(.x17, n, 0) },
        ARMSample(group: "extract", text: "mov x17, v\(n).d[1]") { $0.extract(.x17, n, 1) },
        ARMSample(group: "zero", text: "movi v\(d).2d, #0") { $0.load(d, .init(0, 0)) },
      ]
    }
    return samples
  }()

  // MARK: General-purpose registers

  private static let general: [ARMSample] = {
    var samples: [ARMSample] = [
      ARMSample(group: "move x", text: "mov x3, x17") { $0.mov(.x3, .x17) },
      ARMSample(group: "flow", text: "ret") { $0.ret() },
      ARMSample(group: "flow", text: "br x8") { $0.jump(.x8) },
      ARMSample(group: "and", text: "and x1, x2, #1") { $0.and(.x1, .x2, below: 2) },
      ARMSample(group: "and", text: "and x17, x2, #31") { $0.and(.x17, .x2, below: 32) },
      ARMSample(group: "and", text: "ands x1, x17, #-2") { $0.ands(.x1, .x17, multipleOf: 2) },
      ARMSample(group: "and", text: "ands x1, x2, #-64") { $0.ands(.x1, .x2, multipleOf: 64) },
      ARMSample(group: "shift", text: "lsr x9, x1, #10") { $0.shiftRight(.x9, .x1, 10) },
      ARMSample(group: "shift", text: "lsr x9, x1, #63") { $0.shiftRight(.x9, .x1, 63) },
      ARMSample(group: "mul", text: "mul x8, x17, x9") { $0.mul(.x8, .x17, .x9) },
      ARMSample(group: "sub", text: "sub x3, x4, x17") { $0.sub(.x3, .x4, .x17) },
      ARMSample(group: "sub", text: "neg x2, x1") { $0.sub(.x2, .sp, .x1) },
      ARMSample(group: "cmp", text: "cmp x3, x17") { $0.cmp(.x3, .x17) },
      ARMSample(group: "add", text: "add x3, x4, x17") { $0.add(.x3, .x4, .x17) },
      ARMSample(group: "add", text: "add x3, x4, x17, lsl #3") {
        $0.add(.x3, .x4, .x17, shift: 3)
      },
    ]
    for value in [0, 1, 4095] {
      samples.append(
        ARMSample(group: "cmp", text: "cmp x5, #\(value)") { $0.cmp(.x5, value, scratch: .x9) })
      samples.append(
        ARMSample(group: "sub", text: "subs x5, x6, #\(value)") { $0.subs(.x5, .x6, value) })
      samples.append(
        ARMSample(group: "add", text: "add x5, sp, #\(value)") { $0.add(.x5, .sp, value) })
    }
    for value in [-1, -4095, -4096, 4096, 0xFFF000] {
      let name = value < 0 ? "sub" : "add"
      samples.append(
        ARMSample(group: "add", text: "\(name) x5, x17, #\(abs(value))") {
          $0.add(.x5, .x17, value)
        })
    }
    for value in [0, 1, 0xFFFF, 0x7FFF_0000, 0x1234 << 48, -1, -0x1_0000] {
      samples.append(
        ARMSample(group: "constant", text: "mov x7, #\(value)") { $0.mov(.x7, value) })
    }
    return samples
  }()

  private static let accesses: [ARMSample] = ARMAssembler.Access.allCases.flatMap { how in
    [0, 1, 4095].flatMap { steps -> [ARMSample] in
      let (name, register, size): (String, String, Int) =
        switch how {
        case .load: ("ldr", "x17", 8)
        case .store: ("str", "x17", 8)
        case .loadByte: ("ldrb", "w17", 1)
        case .prefetch: ("prfm", "pldl1keep", 8)
        }
      let number: ARMRegister = how == .prefetch ? .x0 : .x17
      return [ARMRegister.x0, .sp].map { base in
        ARMSample(
          group: "\(how)", text: "\(name) \(register), [\(base), #\(steps * size)]"
        ) { $0.access(how, number, ARMAddress(base, steps * size)) }
      }
    }
  }

  /// Jumps to a place so many instructions away, which is behind them.
  static func jumps(_ label: ARMAssembler.Label, distance: Int) -> [ARMSample] {
    let bytes = 4 * distance
    return [
      ARMSample(group: "jump", text: "b #\(bytes)") { $0.jump(label) },
      ARMSample(group: "jump", text: "b.lo #\(bytes - 4)") { $0.jump(.below, label) },
      ARMSample(group: "jump", text: "b.ge #\(bytes - 8)") { $0.jump(.greaterOrEqual, label) },
      ARMSample(group: "jump", text: "cbz x3, #\(bytes - 12)") { $0.jump(ifZero: .x3, label) },
      ARMSample(group: "jump", text: "cbnz x17, #\(bytes - 16)") {
        $0.jump(ifNotZero: .x17, label)
      },
      ARMSample(group: "jump", text: "adr x8, #\(bytes - 20)") { $0.address(.x8, label) },
    ]
  }
}
