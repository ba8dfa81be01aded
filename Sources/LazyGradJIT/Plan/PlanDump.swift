// Plans as text, for people and for golden tests: no addresses, no times.

extension Plan {
  /// The plan, one line per kernel; with `details`, the instructions of each as well. Kernels of a loop stand
  /// once, behind a line that says how many turns it has.
  package func explain(_ graph: Graph, details: Bool) -> String {
    var text =
      "plan: \(graph.nodes.count) nodes, \(kernelCount) kernels, \(leafCount) inputs, "
      + "\(outputs.count) outputs, arena \(arenaBytes) B, "
      + "reads \(cost.bytesRead) B, writes \(cost.bytesWritten) B\n"
    if !isRolled { return text + listing(from: 0, updates.array, details: details) }
    for run in sectionRuns {
      if run.turns > 1 { text += "  loop of \(run.turns) turns\n" }
      let first = sections[run.section].firstStep
      // What a result replaces is said of the whole plan.
      text += run.body.listing(
        from: first, run.turns > 1 ? [] : updates.array, details: details)
      if run.turns > 1 { text += "  end of loop\n" }
    }
    return text
  }

  /// - Parameters:
  ///   - first: The number of the first kernel.
  ///   - updates: With steps that are counted from 0.
  private func listing(from first: Int, _ updates: [Update], details: Bool) -> String {
    var text = ""
    for (i, step) in steps.array.enumerated() {
      switch step {
      case .loop(let reference), .calls(let reference, _, _):
        let kernel = reference.takeUnretainedValue()
        text += "  k\(first + i) \(kernel.summary)\n"
        if details { text += kernel.listing() }
      case .move(let index):
        let update = updates.first { $0.step == first + i }
        let place = update.map { ", in input \($0.leaf) if nothing else needs it" } ?? ""
        text += "  k\(first + i) move \(moves[index].summary)\(place)\n"
      }
    }
    return text
  }

  /// Sections that are the same plan, one after the other.
  var sectionRuns: [(body: Plan, section: Int, turns: Int)] {
    var runs: [(body: Plan, section: Int, turns: Int)] = []
    for (i, section) in sections.array.enumerated() {
      let body = section.body.takeUnretainedValue()
      if let last = runs.last, last.body === body {
        runs[runs.count - 1].turns += 1
      } else {
        runs.append((body, i, 1))
      }
    }
    return runs
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
