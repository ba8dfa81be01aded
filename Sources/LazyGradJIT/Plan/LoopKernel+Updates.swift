// Which results a loop may compute in the memory of what it reads. Uses the finished kernel: what its
// instructions read, and when.

extension LoopKernel {
  /// The results that may be given the memory of a leaf, those of leaves that fit few results first: so a
  /// step of an optimiser leaves every value where it was.
  ///
  /// An element of the result is written by the instruction that computes it. Nothing may read that element
  /// of the leaf later, whatever runs the loop:
  ///
  /// 1. All reads of the leaf in the loop are of one register, which goes through the leaf's own memory in
  ///    order as the result does through its: none is broadcast, turned, shifted, or an operand of a
  ///    product. So a block, a vector or a chunk of another thread reads no element of others, and what is
  ///    read up to the end of a vector behind a block is not used.
  /// 2. Its last reader is the instruction that computes the result, or one before that. Portable kernels
  ///    carry out one instruction after the other for a block, and may write over their operand;
  ///    machine code loads an element again where registers are short.
  /// 3. No instruction is run twice: rows that are reduced are gone over once more in machine code.
  /// 4. No later step reads the leaf.
  ///
  /// - Parameters:
  ///   - leafCounts: The elements of every leaf.
  ///   - lastReads: The last step that reads each, -1 for none.
  func updates(at step: Int, leafCounts: [Int], lastReads: [Int32]) -> [Plan.Update] {
    if panelColumns > 0 || rows * columns == 0 { return [] }
    var hasResult = false
    for instruction in code.array {
      switch instruction.kind {
      case .reduceRows, .expandRows: return []
      case .tile: if isResult(instruction, leafCounts.count) { hasResult = true }
      case .load: break
      }
    }
    if !hasResult { return [] }
    let operands = operandsInOrder(at: step, leafCounts: leafCounts, lastReads: lastReads)
    var found: [(update: Plan.Update, leaf: Int)] = []
    for (i, instruction) in code.array.enumerated() where isResult(instruction, leafCounts.count) {
      let result = registers[Int(instruction.dst)]
      for (k, operand) in operands.enumerated()
      where operand.type == result.type && operand.lastRead <= i {
        found.append(
          (
            Plan.Update(
              output: Int(result.place.base) - 1 - leafCounts.count, leaf: operand.leaf, step: step,
              byteCount: rows * columns * result.type.size, isLoop: true), k
          ))
      }
    }
    let counts = operands.indices.map { k in found.count { $0.leaf == k } }
    // The order of equal ones is that of the instructions.
    return counts.max().map { most in
      (0...most).flatMap { count in found.filter { counts[$0.leaf] == count }.map(\.update) }
    } ?? []
  }

  /// Whether an instruction computes a result of the plan, where that belongs.
  private func isResult(_ instruction: Instruction, _ leafCount: Int) -> Bool {
    let register = registers[Int(instruction.dst)]
    return instruction.kind == .tile && register.isDirect && !register.isPerRow
      && register.place.base > Int32(leafCount) && register.place.byteOffset == 0
  }

  /// A leaf that is read in the order of its elements, and only so.
  private struct Operand {
    let leaf: Int
    let type: ScalarType
    /// The last instruction that reads it.
    let lastRead: Int
  }

  private func operandsInOrder(
    at step: Int, leafCounts: [Int], lastReads: [Int32]
  ) -> [Operand] {
    // By leaf: the register, -1 for none, -2 where it is read in another way as well.
    var register = [Int](repeating: -1, count: leafCounts.count)
    func note(_ place: Place, _ r: Int?) {
      let leaf = Int(place.base) - 1
      if leaf < 0 || leaf >= leafCounts.count { return }
      register[leaf] = register[leaf] == -1 ? r ?? -2 : -2
    }
    for (r, one) in registers.array.enumerated() where one.isDirect {
      note(one.place, one.isPerRow || one.place.byteOffset != 0 ? nil : r)
    }
    for load in loads.array where load.kind == .gather { note(load.place, nil) }
    for term in terms.array {
      note(term.a, nil)
      note(term.b, nil)
    }
    if let start = product.start { note(start, nil) }
    var lastRead = [Int](repeating: -1, count: registers.count)
    for (i, instruction) in code.array.enumerated() where instruction.kind != .load {
      for r in [instruction.a, instruction.b, instruction.c] where r != Instruction.noRegister {
        lastRead[Int(r)] = i
      }
    }
    for terminal in terminals.array { lastRead[terminal.register] = .max }
    // A copy, or a cast that changes no bit, is no instruction in machine code: who reads it loads the operand.
    for instruction in code.array.reversed()
    where instruction.kind == .tile && instruction.b == Instruction.noRegister {
      let (a, dst) = (Int(instruction.a), Int(instruction.dst))
      lastRead[a] = max(lastRead[a], lastRead[dst])
    }
    return leafCounts.indices.compactMap { leaf in
      let r = register[leaf]
      guard r >= 0, lastReads[leaf] == Int32(step), leafCounts[leaf] == rows * columns else {
        return nil
      }
      return Operand(leaf: leaf, type: registers[r].type, lastRead: lastRead[r])
    }
  }
}
