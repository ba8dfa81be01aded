// Plans as text, for people and for golden tests: no addresses, no times.

extension Plan {
  /// The plan, one line per kernel; with `details`, the instructions of each as well.
  package func explain(_ graph: Graph, details: Bool) -> String {
    var text =
      "plan: \(graph.nodes.count) nodes, \(kernelCount) kernels, \(leafCount) inputs, "
      + "\(outputs.count) outputs, arena \(arenaBytes) B, "
      + "reads \(cost.bytesRead) B, writes \(cost.bytesWritten) B\n"
    for (i, step) in steps.array.enumerated() {
      switch step {
      case .loop(let reference), .calls(let reference, _, _):
        let kernel = reference.takeUnretainedValue()
        text += "  k\(i) \(kernel.summary)\n"
        if details { text += kernel.listing() }
      case .move(let index):
        let update = updates.array.first { $0.step == i }
        let place = update.map { ", in input \($0.leaf) if nothing else needs it" } ?? ""
        text += "  k\(i) move \(moves[index].summary)\(place)\n"
      }
    }
    return text
  }
}

extension LoopKernel {
  fileprivate var summary: String {
    var parts: [String] = []
    if hasProduct {
      let lengths = terms.array.map { String($0.k) }
      let ks =
        lengths.count > 4 ? "\(lengths[0]) x \(lengths.count)" : lengths.joined(separator: "+")
      let start = product.start == nil ? "" : " onto a sum"
      parts.append("matmul \(product.m)x\(product.n) k \(ks)\(start)")
    }
    let names = operationNames { name, reduction in
      switch reduction {
      case nil: name
      case .rows: "row-" + name
      case .columns: "column-" + name
      case .everything: "all-" + name
      }
    }.dropFirst(hasProduct ? 1 : 0)
    if !names.isEmpty { parts.append(names.joined(separator: " ")) }
    let space = columns == 1 ? "[\(rows)]" : "[\(rows) x \(columns)]"
    return "loop \(space) " + parts.joined(separator: "; ")
  }

  fileprivate func listing() -> String {
    var text = ""
    func name(_ r: UInt16) -> String {
      let register = registers[Int(r)]
      return (register.isDirect ? "m" : "r") + String(r) + (register.isPerRow ? "'" : "")
    }
    for instruction in code.array {
      let inputs = [instruction.a, instruction.b, instruction.c]
        .filter { $0 != Instruction.noRegister }
      switch instruction.kind {
      case .load:
        let load = loads[Int(instruction.a)]
        text += "      \(name(instruction.dst)) = \(load.kind == .gather ? "gather" : "position")\n"
      case .tile:
        text +=
          "      \(name(instruction.dst)) = \(instruction.opcode.info.name).\(instruction.type.name) "
          + inputs.map(name).joined(separator: " ") + "\n"
      case .reduceRows:
        text +=
          "      \(name(instruction.dst)) = row-\(instruction.opcode.info.name) "
          + name(instruction.a) + "\n"
      case .expandRows:
        text += "      \(name(instruction.dst)) = expand \(name(instruction.a))\n"
      }
    }
    for terminal in terminals.array {
      text +=
        "      \(terminal.kind == .everything ? "all" : "\(terminal.kind)")-"
        + "\(terminal.opcode.info.name) \(name(UInt16(terminal.register)))\n"
    }
    return text
  }
}

extension MoveKernel {
  fileprivate var summary: String {
    if let call { return "\(call.routine) \(call.rows)x\(call.columns) x \(call.batch)" }
    if !places.isEmpty {
      return "\(kind) [\(kind == .unstack ? places.count / 2 : places.count) x \(width)]"
    }
    return "\(kind)\(isInPlace ? " in place" : "") [\(count)]"
  }
}
