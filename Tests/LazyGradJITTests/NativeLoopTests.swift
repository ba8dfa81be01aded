// Machine code of loops against the portable kernels: every elementwise operation and type at every
// length of a tail, rows, broadcasts, on operands between unreadable pages.

import Foundation
import LazyGradJIT
import TestSupport
import Testing

/// Operations whose results differ between tiers: what has polynomials with fused steps inside.
private let fused = Set(Opcode.allCases.filter { $0.info.rounding == .fused })

/// The elementwise operations with the types that they have.
private let elementwise: [(Opcode, ScalarType)] = Opcode.allCases.flatMap {
  opcode -> [(Opcode, ScalarType)] in
  guard opcode.info.opClass == .elementwise, opcode != .cast else { return [] }
  return ScalarType.allCases.filter { opcode.info.takes($0) }
    .map { (opcode, $0) }
}

@Suite(.enabled(if: !nativeSets.isEmpty)) struct NativeLoopTests {
  /// Every operation at every tail, operands flush against unreadable pages.
  @Test func elementwiseOperations() throws {
    for (opcode, type) in elementwise {
      // Powers of integers with negative exponents are refused before they get here.
      for n in loopLengths {
        var sketch = LoopSketch()
        let first = sketch.leaf([n], opcode == .select ? .bool : type)
        let second = opcode.info.arity > 1 ? sketch.leaf([n], type) : -1
        let third = opcode.info.arity > 2 ? sketch.leaf([n], type) : -1
        let result = opcode.info.typeRule == .bool ? ScalarType.bool : type
        sketch.root(sketch.op(opcode, result, first, second, third))
        let tolerance = fused.contains(opcode) && type.isFloating ? 1e-5 : 0
        try check(sketch, "\(opcode) \(type) [\(n)]", tolerance: tolerance)
      }
    }
  }

  @Test func casts() throws {
    for source in ScalarType.allCases {
      for target in ScalarType.allCases where target != source {
        for n in loopLengths {
          var sketch = LoopSketch()
          let a = sketch.leaf([n], source)
          sketch.root(sketch.op(.cast, target, a))
          // With AVX2 the conversions between floats and int64 stay portable.
          try check(sketch, "cast \(source) to \(target) [\(n)]", mustBeNative: false)
        }
      }
    }
  }

  /// Operands that are run-time scalars, one element, one row, one column, and rows of all lengths.
  @Test func broadcastOperands() throws {
    for type in [ScalarType.float32, .float64, .int32, .int64, .uint8] {
      for columns in [1, 3, 7, 8, 9, 15, 16, 17, 33, 64] {
        for rows in [1, 2, 5, 67] {
          var sketch = LoopSketch()
          let a = sketch.leaf([rows, columns], type)
          let row = sketch.leaf([columns], type)
          let column = sketch.leaf([rows, 1], type)
          let one = sketch.leaf([1, 1], type)
          let scalar = sketch.scalar(3, type)
          var x = sketch.op(.add, type, a, row)
          x = sketch.op(.mul, type, x, column)
          x = sketch.op(.sub, type, x, one)
          x = sketch.op(.maximum, type, x, scalar)
          sketch.root(x)
          try check(sketch, "broadcast \(type) [\(rows), \(columns)]")
        }
      }
    }
  }

  /// Operands that begin anew after some rows: a row of each batch, a column for all of them, channels of images;
  /// in one loop with others of other groups.
  @Test func operandsOfGroups() throws {
    for type in [ScalarType.float32, .float64, .int32, .uint8] {
      for dims in [[3, 8, 64], [2, 64, 9], [7, 17, 33], [2, 3, 40, 16], [3, 2, 5, 150]] {
        let ones = [Int](repeating: 1, count: dims.count - 3)
        let (batch, rows, columns) = (dims[0], dims[dims.count - 2], dims[dims.count - 1])
        var sketch = LoopSketch()
        var x = sketch.leaf(dims, type)
        x = sketch.op(.add, type, x, sketch.leaf(dims.dropLast(2) + [1, columns], type))
        x = sketch.op(.mul, type, x, sketch.leaf([rows, 1], type))
        x = sketch.op(.sub, type, x, sketch.leaf([batch] + ones + [1, columns], type))
        x = sketch.op(.maximum, type, x, sketch.leaf([columns], type))
        sketch.root(x)
        try check(sketch, "groups \(type) \(dims)")
      }
      for dims in [[2, 3, 16, 32], [1, 5, 7, 100], [4, 9, 11, 13]] {
        var sketch = LoopSketch()
        let channels = [1, dims[1], 1, 1]
        var x = sketch.leaf(dims, type)
        x = sketch.op(.mul, type, x, sketch.leaf(channels, type))
        x = sketch.op(.add, type, x, sketch.leaf(channels, type))
        sketch.root(x)
        try check(sketch, "channels \(type) \(dims)")
      }
    }
  }

  /// A chain long enough that its values do not all find registers, summed by rows, with results.
  @Test func longChains() throws {
    for type in [ScalarType.float32, .float64] {
      for columns in [5, 16, 40, 100, 1000] {
        var sketch = LoopSketch()
        let a = sketch.leaf([3, columns], type)
        let b = sketch.leaf([3, columns], type)
        let t = sketch.op(.tanh, type, sketch.op(.add, type, a, b))
        let e = sketch.op(.exp, type, sketch.op(.neg, type, sketch.op(.square, type, a)))
        let s = sketch.op(.sigmoid, type, sketch.op(.mul, type, t, b))
        let y = sketch.op(.mul, type, sketch.op(.mul, type, t, e), s)
        for root in [t, e, y, sketch.reduce(.sum, y, axis: 1)] { sketch.root(root) }
        try check(sketch, "chain \(type) [3, \(columns)]", tolerance: 1e-5)
      }
    }
  }

  /// Arguments that vectors leave to the C library don't change their neighbours.
  @Test func helpWithSingleLanes() throws {
    for set in nativeSets {
      for (opcode, large) in [(Opcode.sin, Float(3e7)), (.cos, -1e38), (.sin, .infinity)] {
        var sketch = LoopSketch()
        let x = sketch.leaf([100], .float32)
        let y = sketch.op(.tanh, .float32, sketch.op(opcode, .float32, x))
        sketch.root(y)
        func run(_ values: [Float]) throws -> [Float] {
          let storage = try values.withUnsafeBytes { bytes in
            try PlanRunner.run(
              sketch.graph, leaves: [bytes.baseAddress!], scalars: [], threads: 1,
              instructionSet: set)
          }
          return (0..<100).map { storage[y]!.pointer.load(fromByteOffset: 4 * $0, as: Float.self) }
        }
        let plain = (0..<100).map { Float($0) * 0.37 - 20 }
        var mixed = plain
        for i in [0, 17, 18, 63, 99] { mixed[i] = large }
        let (a, b) = (try run(plain), try run(mixed))
        for i in 0..<100 {
          if mixed[i] == plain[i] {
            #expect(a[i].bitPattern == b[i].bitPattern, "\(set) \(opcode) lane \(i)")
          } else {
            let exact = opcode == .sin ? sin(Double(large)) : cos(Double(large))
            let expected = Float(tanh(exact))
            #expect(
              b[i].isNaN == expected.isNaN && !(abs(b[i] - expected) > 1e-6),
              "\(set) \(opcode)(\(large)) = \(b[i])")
          }
        }
      }
    }
  }

  /// The same loop in another plan, of another length, is the same code, and goes with its plans.
  @Test func equalLoopsShareTheirCode() throws {
    for set in nativeSets {
      func plan(_ n: Int, _ opcode: Opcode) -> Plan {
        var sketch = LoopSketch()
        let (a, b) = (sketch.leaf([n], .float64), sketch.leaf([n], .float64))
        let x = sketch.op(.sub, .float64, sketch.op(opcode, .float64, a, b), b)
        sketch.root(sketch.op(.neg, .float64, sketch.op(.square, .float64, x)))
        return PlanRunner.plan(sketch.graph, for: set)
      }
      weak var owner: AnyObject?
      do {
        let (one, two) = (plan(1000, .mul), plan(7, .mul))
        let other = plan(1000, .add)
        let entry = one.kernels[0].nativeLoop!.routine.entry
        #expect(two.kernels[0].nativeLoop!.routine.entry == entry)
        #expect(other.kernels[0].nativeLoop!.routine.entry != entry)
        owner = one.kernels[0].nativeLoop!.routine.owner
        #expect(owner != nil)
      }
      #expect(owner == nil)
    }
  }

  #if arch(x86_64)
    /// Registers that belong to the caller come back as they were, and the upper halves of the vector
    /// registers clean.
    @Test func registersOfTheCaller() throws {
      let saved: [GPR] = [.rbx, .rbp, .r12, .r13, .r14, .r15]
      func canary(_ i: Int) -> Int { 0x1122_3344_5566_7700 + i }
      var code = Assembler()
      for register in saved { code.push(register) }
      code.push(.rdi)
      for (i, register) in saved.enumerated() { code.mov(register, canary(i)) }
      code.mov(.rax, Memory(.rdi, 0))
      code.mov(.rdi, Memory(.rdi, 8))
      let back = code.label()
      code.lea(.r11, back)
      code.push(.r11)
      code.jump(.rax)
      code.bind(back)
      code.pop(.rdi)
      for (i, register) in saved.enumerated() { code.mov(Memory(.rdi, 16 + 8 * i), register) }
      for register in saved.reversed() { code.pop(register) }
      code.ret()
      let caller = try #require(CodeMemory.install(code.finish()))
      // xgetbv with rcx = 1: the parts of the register state that are in use; bit 2 is the upper
      // halves.
      let query = try #require(
        CodeMemory.install([
          0xB9, 1, 0, 0, 0, 0x0F, 0x01, 0xD0, 0x48, 0xC1, 0xE2, 0x20, 0x48, 0x09, 0xD0, 0xC3,
        ]))
      let call = unsafeBitCast(
        caller.entry, to: (@convention(c) (UnsafeMutableRawPointer) -> Void).self)
      let state = unsafeBitCast(query.entry, to: (@convention(c) () -> Int).self)
      for set in nativeSets {
        for opcode in [Opcode.add, .pow] {
          var sketch = LoopSketch()
          let (a, b) = (sketch.leaf([37], .float32), sketch.leaf([37], .float32))
          let sum = sketch.op(opcode, .float32, a, b)
          sketch.root(sum)
          sketch.root(sketch.op(.exp, .float32, sketch.op(.mul, .float32, sum, a)))
          let plan = PlanRunner.plan(sketch.graph, for: set)
          let entry = try #require(plan.kernels[0].nativeLoop).routine.entry
          // A frame by hand: four arrays of which only one is read, between ones.
          let memory = UnsafeMutableRawPointer.allocate(byteCount: 1 << 16, alignment: 64)
          defer { memory.deallocate() }
          memory.initializeMemory(as: UInt8.self, repeating: 0, count: 1 << 16)
          let frame = memory + 4096
          for i in 0..<64 { memory.storeBytes(of: 1, toByteOffset: 4 * i, as: Float.self) }
          frame.storeBytes(of: 37, toByteOffset: LoopFrame.elementCount, as: Int.self)
          for i in 0..<4 {
            frame.storeBytes(
              of: UInt(bitPattern: memory) + UInt(i < 2 ? 0 : 512 * i),
              toByteOffset: LoopFrame.pointer(i), as: UInt.self)
          }
          var context = [Int](repeating: 0, count: 10)
          context[0] = Int(bitPattern: entry)
          context[1] = Int(bitPattern: frame)
          let used = context.withUnsafeMutableBytes { context in
            call(context.baseAddress!)
            return state()
          }
          for i in saved.indices { #expect(context[2 + i] == canary(i), "\(set) \(saved[i])") }
          #expect(used & 4 == 0, "\(set): the upper halves are in use")
          let result = memory.load(fromByteOffset: 1024 + 36 * 4, as: Float.self)
          #expect(result == (opcode == .add ? 2 : 1))
          #expect(memory.load(fromByteOffset: 1024 + 37 * 4, as: Float.self) == 0)
        }
      }
    }
  #endif
}
