// Emitted AArch64 code leaves the registers that belong to its caller as they were: loops, on their way to help and
// back, and products of all kinds.

import LazyGradJIT
import Testing

#if arch(arm64)
  /// A call with known values in the registers that a callee must keep.
  private struct CanaryCall {
    private static let code: CodeBlock = CodeMemory.install(
      words.flatMap { word in withUnsafeBytes(of: word.littleEndian) { Array($0) } })!

    /// Entry, four arguments, the result, x19 to x28, d8 to d15: before and after.
    private var context = [UInt64](repeating: 0, count: 24)
    private static func canary(_ i: Int) -> UInt64 { 0x1122_3344_5566_7700 + UInt64(i) }

    init(_ entry: UnsafeRawPointer, _ arguments: [UnsafeRawPointer]) {
      context[0] = UInt64(UInt(bitPattern: entry))
      for (i, argument) in arguments.enumerated() {
        context[1 + i] = UInt64(UInt(bitPattern: argument))
      }
      for i in 6..<24 { context[i] = Self.canary(i) }
    }

    /// What the code returns.
    mutating func run() -> UInt64 {
      context.withUnsafeMutableBytes {
        unsafeBitCast(
          Self.code.entry, to: (@convention(c) (UnsafeMutableRawPointer) -> Void).self)(
            $0.baseAddress!)
      }
      return context[5]
    }

    var changed: [String] {
      (6..<24).filter { context[$0] != Self.canary($0) }
        .map { $0 < 16 ? "x\($0 + 13)" : "d\($0 - 8)" }
    }

    private static let words: [UInt32] = [
      0xA9B57BFD,  // stp x29, x30, [sp, #-176]!
      0xA90153F3,  // stp x19, x20, [sp, #16]
      0xA9025BF5,  // stp x21, x22, [sp, #32]
      0xA90363F7,  // stp x23, x24, [sp, #48]
      0xA9046BF9,  // stp x25, x26, [sp, #64]
      0xA90573FB,  // stp x27, x28, [sp, #80]
      0x6D0627E8,  // stp d8, d9, [sp, #96]
      0x6D072FEA,  // stp d10, d11, [sp, #112]
      0x6D0837EC,  // stp d12, d13, [sp, #128]
      0x6D093FEE,  // stp d14, d15, [sp, #144]
      0xF90053E0,  // str x0, [sp, #160]
      0xA9435013,  // ldp x19, x20, [x0, #48]
      0xA9445815,  // ldp x21, x22, [x0, #64]
      0xA9456017,  // ldp x23, x24, [x0, #80]
      0xA9466819,  // ldp x25, x26, [x0, #96]
      0xA947701B,  // ldp x27, x28, [x0, #112]
      0x6D482408,  // ldp d8, d9, [x0, #128]
      0x6D492C0A,  // ldp d10, d11, [x0, #144]
      0x6D4A340C,  // ldp d12, d13, [x0, #160]
      0x6D4B3C0E,  // ldp d14, d15, [x0, #176]
      0xF9400008,  // ldr x8, [x0]
      0xA9418C02,  // ldp x2, x3, [x0, #24]
      0xA9408400,  // ldp x0, x1, [x0, #8]
      0xD63F0100,  // blr x8
      0xF94053E9,  // ldr x9, [sp, #160]
      0xF9001520,  // str x0, [x9, #40]
      0xA9035133,  // stp x19, x20, [x9, #48]
      0xA9045935,  // stp x21, x22, [x9, #64]
      0xA9056137,  // stp x23, x24, [x9, #80]
      0xA9066939,  // stp x25, x26, [x9, #96]
      0xA907713B,  // stp x27, x28, [x9, #112]
      0x6D082528,  // stp d8, d9, [x9, #128]
      0x6D092D2A,  // stp d10, d11, [x9, #144]
      0x6D0A352C,  // stp d12, d13, [x9, #160]
      0x6D0B3D2E,  // stp d14, d15, [x9, #176]
      0xA94153F3,  // ldp x19, x20, [sp, #16]
      0xA9425BF5,  // ldp x21, x22, [sp, #32]
      0xA94363F7,  // ldp x23, x24, [sp, #48]
      0xA9446BF9,  // ldp x25, x26, [sp, #64]
      0xA94573FB,  // ldp x27, x28, [sp, #80]
      0x6D4627E8,  // ldp d8, d9, [sp, #96]
      0x6D472FEA,  // ldp d10, d11, [sp, #112]
      0x6D4837EC,  // ldp d12, d13, [sp, #128]
      0x6D493FEE,  // ldp d14, d15, [sp, #144]
      0xA8CB7BFD,  // ldp x29, x30, [sp], #176
      0xD65F03C0,  // ret
    ]
  }

  @Suite(.enabled(if: NativeCode.available.contains(.neon))) struct ARMRegisterTests {
    @Test func loops() throws {
      for opcode in [Opcode.add, .pow, .tanh] {
        var sketch = LoopSketch()
        let (a, b) = (sketch.leaf([37], .float32), sketch.leaf([37], .float32))
        let sum = sketch.op(opcode, .float32, a, opcode == .tanh ? -1 : b)
        sketch.root(sum)
        let other = sketch.op(.sin, .float32, sketch.op(.mul, .float32, sum, b))
        sketch.root(sketch.op(.exp, .float32, other))
        let plan = PlanRunner.plan(sketch.graph, for: .neon)
        let entry = try #require(plan.kernels[0].nativeLoop).routine.entry
        // A frame by hand. Which array is read and which is written is the kernel's choice, so that all begin
        // with the same numbers, of which one asks for help.
        let memory = UnsafeMutableRawPointer.allocate(byteCount: 1 << 16, alignment: 64)
        defer { memory.deallocate() }
        memory.initializeMemory(as: UInt8.self, repeating: 0, count: 1 << 16)
        let frame = memory + 4096
        frame.storeBytes(of: 37, toByteOffset: LoopFrame.elementCount, as: Int.self)
        for i in 0..<4 {
          let array = memory + 512 * i
          for k in 0..<64 {
            array.storeBytes(of: k == 20 ? 1e18 : 1, toByteOffset: 4 * k, as: Float.self)
          }
          frame.storeBytes(
            of: UInt(bitPattern: array), toByteOffset: LoopFrame.pointer(i), as: UInt.self)
        }
        var call = CanaryCall(entry, [UnsafeRawPointer(frame)])
        var turns = 0
        // Nobody answers: what is missing stays as it is.
        while call.run() != 0, turns < 100 {
          #expect(call.changed == [], "\(opcode)")
          turns += 1
        }
        #expect(turns > 0 && turns < 100, "\(opcode): \(turns) requests")
        #expect(call.changed == [], "\(opcode)")
      }
    }

    @Test func products() throws {
      for left in [ProductShape.Left.rows, .columns, .strided] {
        for (height, columns) in [(13, 33), (1, 33), (2, 35), (3, 7), (13, 1), (9, 64), (1, 64)] {
          let shape = ProductShape(
            instructionSet: .neon, isDouble: false, left: left, columns: columns, heights: [height])
          let block = try #require(CodeMemory.install(shape.code()))
          let a = [Float](repeating: 1, count: height * 9)
          let b = [Float](repeating: 2, count: 9 * columns)
          let c = [Float](repeating: 0, count: height * columns + 4)
          let (aRow, aColumn) = left == .columns ? (4, 4 * height) : (36, 4)
          var arguments = ProductArguments(
            rows: height, depth: 9, aRow: aRow, aColumn: aColumn, bRow: 4 * columns,
            cRow: 4 * columns, bStrip: shape.tileVectors * shape.lanes * 4, accumulates: false)
          let changed = withUnsafePointer(to: &arguments) { arguments in
            a.withUnsafeBytes { a in
              b.withUnsafeBytes { b in
                c.withUnsafeBytes { c in
                  var call = CanaryCall(
                    block.entry,
                    [UnsafeRawPointer(arguments), b.baseAddress!, c.baseAddress!, a.baseAddress!])
                  _ = call.run()
                  return call.changed
                }
              }
            }
          }
          #expect(changed == [], "\(left) \(height) x \(columns)")
          let count = height * columns
          #expect(c.prefix(count).allSatisfy { $0 == 18 }, "\(left) \(height) x \(columns)")
          #expect(c.dropFirst(count).allSatisfy { $0 == 0 }, "\(left) \(height) x \(columns)")
          withExtendedLifetime(block) {}
        }
      }
    }
  }
#endif
