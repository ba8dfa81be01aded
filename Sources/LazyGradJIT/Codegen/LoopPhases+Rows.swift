// What a row computes once, before and between the walks over its elements. Continues
// LoopPhases.swift.

extension LoopPhases {
  /// What is computed once for each row before phase p.
  mutating func rowBody(_ p: Int) -> LoopBody {
    var body = LoopBody(instructionSet)
    var values = Values(repeating: -1, count: kernel.registers.count)
    func value(_ r: Int, _ body: inout LoopBody) -> LoopBody.Value {
      if values[r] >= 0 { return values[r] }
      if case .memory(let argument, _) = shape.roles[r], phase[r] == 0, p == 0 || !isComputed(r) {
        let type = kernel.registers[r].type
        let place = LoopAddress(
          pointer: argument, index: .row, size: type.size, half: kernel.registers[r].half)
        let bytes = body.broadcast(type.size == 1 ? .i32 : type.lane, place)
        values[r] = type == .bool ? body.mask(ofBytes: bytes) : bytes
      } else {
        values[r] = fromSlot(r, &body)
      }
      return values[r]
    }
    if p == 0 {
      // Operands of the row that elements read.
      for r in 0..<kernel.registers.count {
        guard kernel.registers[r].isPerRow, !isComputed(r), case .memory = shape.roles[r]
        else { continue }
        body.storeSlot(outside(value(r, &body), kernel.registers[r].type, &body), slots[r])
      }
    }
    for i in 0..<kernel.code.count {
      let instruction = kernel.code[i]
      let dst = Int(instruction.dst)
      if instruction.kind == .load || !kernel.registers[dst].isPerRow || phase[dst] != p {
        continue
      }
      if instruction.kind == .tile {
        values[dst] = tile(i) {
          value($0, &body)
        } apply: { a, b, c in
          body.tile(instruction.opcode, instruction.type, instruction.resultType, a, b, c)
        }
        body.storeSlot(outside(values[dst], instruction.resultType, &body), slots[dst])
      } else if instruction.kind == .reduceRows {
        values[dst] = reducedRow(dst, instruction, &body)
      }
      storeRow(dst, values[dst], &body)
    }
    return body
  }

  /// What a reduction has left in its slot; what is computed of bytes wraps around like them.
  private func reducedRow(
    _ r: Int, _ instruction: LoopKernel.Instruction, _ body: inout LoopBody
  ) -> LoopBody.Value {
    if instruction.type != .uint8 || Self.reducer(instruction).extreme != nil {
      return fromSlot(r, &body)
    }
    let wrapped = body.and(body.slot(.i32, slots[r]), body.integer(.i32, 255))
    body.storeSlot(wrapped, slots[r])
    return wrapped
  }

  private func storeRow(_ r: Int, _ value: LoopBody.Value, _ body: inout LoopBody) {
    let type = kernel.registers[r].type
    let value = outside(value, type, &body)
    func store(_ argument: Int) {
      body.storeFirst(
        value,
        LoopAddress(
          pointer: argument, index: .row, size: type.size, half: kernel.registers[r].half))
    }
    if case .memory(let argument, _) = shape.roles[r] { store(argument) }
    if shape.storeArguments[r] >= 0 { store(shape.storeArguments[r]) }
  }

  private func isComputed(_ r: Int) -> Bool {
    for i in 0..<kernel.code.count where kernel.code[i].kind != .load && kernel.code[i].dst == r {
      return true
    }
    return false
  }
}
