// Compiles loop kernels, each once: what their code depends on is the key under which it is kept.
// Uses Plan's description of kernels, LoopShape, LoopNest and the cache of kernels.

/// Makes machine code of loop kernels.
enum LoopCompiler {
  /// The code of a kernel; nil where it stays with the portable kernels.
  static func compile(_ kernel: LoopKernel, _ set: InstructionSet) -> NativeLoop? {
    guard let shape = LoopShape(kernel), shape.isInReach(rows: 1, elementSize: 1) else {
      return nil
    }
    let key = KernelKey(.loop, set, shape.descriptor)
    guard
      let routine = KernelCache.shared.routine(
        for: key,
        make: {
          if set == .neon {
            var nest = NeonNest(shape)
            return nest.emit()
          }
          var nest = LoopNest(shape, set)
          if nest.isStreamed { nest = LoopNest(shape, set.forStreams) }
          return nest.emit()
        })
    else { return nil }
    let frameBytes =
      set == .neon ? NeonNest.frameBytes(routine.entry) : LoopNest.frameBytes(routine.entry)
    return NativeLoop(
      routine: routine, arguments: shape.arguments, registers: shape.placed, loads: shape.loads,
      terminals: shape.terminals, rowLength: shape.rowLength,
      startsInRows: shape.rowLength != LoopShape.flat && !shape.hasWholeRows,
      groupLength: shape.groupLength, isPerBlock: shape.isPerBlock,
      registerBytes: shape.registerBytes, frameBytes: frameBytes)
  }
}

extension LoopShape {
  /// Whether the length of so many rows, and the way over them, fits into the 32 bits that instructions
  /// have for a number. Rows that are longer are computed by the portable kernels.
  func isInReach(rows: Int, elementSize: Int) -> Bool {
    let limit = Int(Int32.max) / rows
    return (rowLength == Self.flat || rowLength <= limit / elementSize)
      && advances.allSatisfy { abs($0) <= limit }
  }

  /// Whether every call has whole rows of the code's loop, all of the same length.
  var hasWholeRows: Bool {
    isRowWise || (terminals.contains(.columns) && kernel.panelColumns == 0)
  }

  /// Whether some operation may need the caller's help.
  var needsHelp: Bool {
    for i in 0..<kernel.code.count where kernel.code[i].kind == .tile {
      let instruction = kernel.code[i]
      switch instruction.opcode {
      case .cast:
        if LoopBody.needsHelp(casting: instruction.type, to: instruction.resultType) {
          return true
        }
      case .pow, .leftShift, .rightShift: if instruction.type != .bool { return true }
      case let opcode: if opcode.info.function?.exact != nil { return true }
      }
    }
    return false
  }

  /// Whether 64-bit lanes occur; then a vector holds as many elements as fit in that size. Functions
  /// of floats that are computed in double precision count.
  var isWide: Bool {
    for r in 0..<kernel.registers.count where roles[r] != .unused {
      if kernel.registers[r].type.size == 8 { return true }
    }
    for i in 0..<kernel.code.count where kernel.code[i].kind == .tile {
      let instruction = kernel.code[i]
      if instruction.type.size == 8 || instruction.resultType.size == 8 { return true }
      if instruction.type == .float32, instruction.opcode.info.function?.isWide == true {
        return true
      }
    }
    return false
  }

  /// Whether an array of the loop's elements is larger than the caches near a core.
  var isLarge: Bool { kernel.rows * kernel.columns >= 1 << 20 }

  /// Everything that the code depends on.
  var descriptor: [UInt64] {
    var words: [UInt64] = []
    words.reserveCapacity(4 + 2 * kernel.code.count + 2 * roles.count)
    words.append(
      UInt64(rowLength) << 4 | (isRowWise ? 1 : 0) | (hasWholeRows ? 2 : 0) | (isLarge ? 4 : 0))
    words.append(UInt64(isRowWise ? kernel.columns : 0) << 16 | UInt64(arguments.count))
    for r in roles.indices {
      let register = kernel.registers[r]
      var word = UInt64(register.type.rawValue) | (register.isPerRow ? 8 : 0)
      switch roles[r] {
      case .unused: word |= 1 << 4
      case .computed: word |= 2 << 4
      case .memory(let argument, let index):
        word |= 3 << 4 | UInt64(index.rawValue) << 8 | UInt64(argument) << 16
      case .scalar(let argument): word |= 4 << 4 | UInt64(argument) << 16
      case .uniform(let argument): word |= 5 << 4 | UInt64(argument) << 16
      case .repeated(let argument): word |= 6 << 4 | UInt64(argument) << 16
      }
      word |= UInt64(storeArguments[r] + 1) << 32
      words.append(word)
    }
    for advance in advances { words.append(UInt64(bitPattern: Int64(advance))) }
    for i in 0..<kernel.code.count {
      let c = kernel.code[i]
      words.append(
        UInt64(c.kind.rawValue) | UInt64(c.opcode.rawValue) << 8 | UInt64(c.type.rawValue) << 16
          | UInt64(c.resultType.rawValue) << 24 | (c.isPerRow ? 1 << 32 : 0)
          | UInt64(c.dst) << 40)
      words.append(UInt64(c.a) | UInt64(c.b) << 16 | UInt64(c.c) << 32)
    }
    for t in terminals.indices where terminals[t] != .portable {
      let terminal = kernel.terminals[t]
      words.append(
        UInt64(terminals[t].rawValue) | UInt64(terminal.opcode.rawValue) << 8
          | UInt64(terminal.type.rawValue) << 16 | UInt64(terminal.register) << 24)
    }
    return words
  }
}
