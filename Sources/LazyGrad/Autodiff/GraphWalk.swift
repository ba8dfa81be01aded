// The walk over the recorded graph, from newest to oldest, in which the rules record the backward pass.

internal import LazyGradJIT

/// The walk itself. Ids descend, so every reader of a node has been seen before the node.
struct GraphWalk {
  private(set) var pass: BackwardPass
  let retainsGraph: Bool
  /// For tests.
  var check: PassCheck?
  var tape: Tape { pass.tape }

  /// The nodes that gather what is asked for by name.
  private var asked: [UInt32] = []

  init(pass: BackwardPass, retainsGraph: Bool, check: PassCheck? = nil) {
    self.pass = pass
    self.retainsGraph = retainsGraph
    self.check = check
  }

  /// Records the gradients of a differentiation; none where there is nothing to differentiate.
  mutating func run(
    _ heads: [Tensor], _ seeds: [Tensor?], _ collect: Differentiation.Collect
  ) throws(InvalidBackprop) -> [Tensor] {
    if heads.allSatisfy(\.isConstant), retainsGraph {
      guard case .only(let variables) = collect else { return [] }
      return variables.map { Tensor(unchecked: zeros($0)) }
    }
    if case .only(let variables) = collect {
      // Before it is looked for: a value in memory whose record was cleared is taken up again by this use.
      for head in heads where !head.isConstant { _ = tape.nodeOrLeaf(head.slot) }
      asked = variables.map(gatherer)
      // What those were computed from is nobody's business. A pass that clears goes everywhere.
      if retainsGraph { pass.floor = asked.min() ?? .max }
    }
    if heads.count == 1, seeds[0] == nil, let question = question(collect) {
      return try tape.recordPass(of: heads[0].slot, question) { () throws(InvalidBackprop) in
        try record(heads, seeds, collect)
      }.map { Tensor(unchecked: $0.unsafelyUnwrapped) }
    }
    let start = tape.count
    let outcome = try record(heads, seeds, collect)
    tape.finishPass(outcome.remains, since: start)
    tape.forceLate(outcome.remains.late)
    return outcome.results.map { Tensor(unchecked: $0.unsafelyUnwrapped) }
  }

  /// What a pass of one head is recognised by; nil for one that is not remembered.
  private func question(_ collect: Differentiation.Collect) -> PassQuestion? {
    var question = PassQuestion()
    switch collect {
    case .replace: return retainsGraph ? nil : question
    case .accumulate: return nil
    case .only:
      // A question takes as much memory as the records that it is about.
      if asked.count > Self.mostAsked { return nil }
      let start = tape.state.pointee.windowStart
      if !retainsGraph || asked.contains(where: { $0 < start }) { return nil }
      question.words.reserveCapacity(asked.count + 1)
      question.words.append(UInt64(pass.state.rawValue) << 1 | (pass.createsGraph ? 1 : 0))
      for node in asked { question.words.append(UInt64(tape.count &- node)) }
      return question
    }
  }

  private static var mostAsked: Int { 4096 }

  /// Records the gradients of a differentiation that there is something to do for.
  ///
  /// - Returns: Handles for what was asked for by name, and what is to be let go when they are recorded.
  private func record(
    _ heads: [Tensor], _ seeds: [Tensor?], _ collect: Differentiation.Collect
  ) throws(InvalidBackprop) -> PassOutcome {
    var ids: [UInt32] = []
    for head in heads where !head.isConstant || retainsGraph == false {
      ids.append(tape.nodeOrLeaf(head.slot))
    }
    // A constant has no gradients, so none can get lost.
    if tape.state.pointee.hasCleared {
      try check(ids.filter { isVariable($0) }, Set(asked))
    }

    var ones = Tape.none
    for (head, seed) in zip(heads, seeds) {
      let id = tape.nodeOrLeaf(head.slot)
      if head.isConstant {
        // A constant has no gradients, but its graph is cleared.
        if !retainsGraph { clear(below: id) }
        continue
      }
      let g = seedNode(seed, id)
      if seed == nil { ones = g }
      pass.add(id, g)
    }
    var asked = AskedGradients(self.asked)
    var remains = PassRemains()
    var results: [SlotRef?] = []
    var constants: [UInt32] = []
    var parents: [UInt32] = []
    var runsPieces = true
    var id = ids.max()!
    let replaces = if case .replace = collect { true } else { false }
    while id >= pass.adjoints.fields.pointee.lowest {
      let adjoint = tape.takeAdjoint(pass.adjoints, id)
      if adjoint != 0 {
        var unread = Tape.none
        if adjoint != PassState.passedOn {
          let g = tape.inWindow(adjoint &- 1)
          unread = g
          if !replaces {
            if case .only = collect {
              if asked.take(g, for: id) { tape.retainNode(g) }
            } else {
              attach(id, g, accumulate: true, &remains)
            }
          } else if tape[id].slot != nil {
            if g == ones { markUnit(id) } else { attach(id, g, accumulate: false, &remains) }
          }
          visit(id, g)
        }
        if !retainsGraph {
          noteConstants(id, &constants)
          if let parent = tape.viewParent(id) { parents.append(parent) }
          tape.markCleared(id)
          if tape[id].state.contains(.evaluated) { remains.cleared.append(id) }
        }
        tape.endVisit(id, adjoint)
        if unread != Tape.none, tape[unread].uses == 0 { remains.unread.append(unread) }
        // The backward pass of a graph of any length takes bounded memory beside the graph. Where there
        // is none for that, the rest is recorded only, and who reads a gradient is told.
        if tape.isWindowFull, runsPieces { runsPieces = tape.forcePiece(pass.adjoints) }
      }
      if id == 0 { break }
      id &-= 1
    }
    // Before anything is let go: a constant's record may have no other reader than a cleared one.
    for id in constants { remains.cleared += markCleared(below: id, constantsOnly: true) }
    for id in constants { tape.letGo(id) }
    // Not when they are met: what reads them, too, may still be on its way to them.
    for id in parents { remains.cleared += markCleared(below: id, viewsOnly: true) }
    if case .only(let variables) = collect {
      check?.verify(asked)
      results = zip(variables, asked.nodes).map { variable, node in
        guard let g = asked.gradient(of: node) else { return zeros(variable) }
        return tape.makeSlot(handle(g, of: variable.slot))
      }
      for entry in asked.entries where entry.gradient != Tape.none { tape.letGo(entry.gradient) }
    }
    return PassOutcome(remains, results: results)
  }

  /// The node that gathers a tensor's gradient.
  private func gatherer(_ tensor: Tensor) -> UInt32 {
    var id = tape.record(of: tensor.slot)
    while let source = tape.importedNode(id) { id = source }
    return id
  }

  private func seedNode(_ seed: Tensor?, _ id: UInt32) -> UInt32 {
    let shape = tape[id].shape
    guard let seed else {
      let one = pass.number(1, id)
      return shape == LayoutTable.scalar ? one : pass.expanded(one, to: shape)
    }
    let typed = pass.cast(tape.operand(seed.slot), tape[id].type)
    return pass.expanded(pass.cast(typed, pass.type(id)), to: shape)
  }

  /// Lets the rule of a node add to its operands' gradients.
  @inline(__always)
  private func visit(_ id: UInt32, _ g: UInt32) {
    if tape[id].state.contains(.tracked), tape.hasOperands(id) {
      if check != nil { return visitAndCheck(id, g) }
      if !DerivativeRules.apply(tape[id].opcode, VJP(pass, id, g)) { passNothingOn(id) }
    }
  }

  /// The same where passes are verified; compiled apart, so that the other does not pay for it.
  @inline(never)
  private func visitAndCheck(_ id: UInt32, _ g: UInt32) {
    let opcode = tape[id].opcode
    let reads = check!.reads(tape, id, g, pass.adjoints)
    if !DerivativeRules.apply(opcode, VJP(pass, id, g)) { passNothingOn(id) }
    if let value = reads?.undeclared() {
      stop("backward", "the rule of '\(opcode.info.name)' reads \(value), which its row omits")
    }
  }

  /// An operation without a rule: its derivative is 0, or a gradient would get lost.
  @inline(never)
  private func passNothingOn(_ id: UInt32) {
    let info = tape[id].opcode.info
    if info.isDifferentiable { stop("backward", "'\(info.name)' has no derivative rule") }
  }

  /// Notes the operands that no gradient goes to but that were computed from others: their graph
  /// ends with the pass as well. A node without backward information leads to none, whether or not it
  /// has been computed.
  @inline(__always)
  private func noteConstants(_ id: UInt32, _ constants: inout [UInt32]) {
    let (a, b, c) = (tape.a(id), tape.b(id), tape.c(id))
    if a == id || !tape[id].state.contains(.tracked) { return }
    if isComputedConstant(a) { note(a, &constants) }
    if b == id { return }
    if isComputedConstant(b) { note(b, &constants) }
    if c != id, isComputedConstant(c) { note(c, &constants) }
  }

  /// Keeps a constant until its graph is cleared.
  private func note(_ id: UInt32, _ constants: inout [UInt32]) {
    tape.retainNode(id)
    constants.append(id)
  }

  @inline(__always)
  private func isComputedConstant(_ id: UInt32) -> Bool {
    !pass.wants(id)
      && (tape[id].state.contains(.tracked) || tape[id].isImport)
  }

  // MARK: Results

  /// A node that a new handle may take, for the gradient of a handle: each node has one handle at most, and a
  /// gradient has memory of its own, which is not seen through another's.
  private func handle(_ g: UInt32, of slot: SlotRef) -> UInt32 {
    // What is gathered in float32 is rounded here.
    if tape[g].type != slot.pointee.type {
      return pass.cast(tape.inWindow(g), slot.pointee.type)
    }
    let opcode = tape[g].opcode
    let isShared = opcode == .leaf || opcode == .scalar || opcode == .view
    return tape[g].slot != nil || isShared ? pass.emit(.copy, tape.inWindow(g)) : g
  }

  @inline(never)
  private func markUnit(_ id: UInt32) {
    guard let slot = tape[id].slot else { return }
    tape.dropGradient(slot)
    slot.hasUnitGradient = true
  }

  @inline(never)
  private func attach(_ id: UInt32, _ g: UInt32, accumulate: Bool, _ remains: inout PassRemains) {
    guard let slot = tape[id].slot, tape[id].traits.contains(.variable) else { return }
    // Nobody could read the sum and so end it.
    if accumulate, slot.isView { return }
    var result = g
    var isLate = false
    if slot.hasUnitGradient {
      if accumulate { result = pass.emit(.add, pass.number(1, id), g) }
      slot.hasUnitGradient = false
    } else if let old = slot.pointee.gradient {
      if accumulate {
        isLate = tape.isLate(old)
        result = pass.emit(.add, pass.cast(tape.operand(old), pass.type(id)), g)
      }
      tape.dropGradient(slot)
    }
    let gradient = handle(result, of: slot)
    tape.setGradient(slot, gradient)
    slot.addsUpGradients = accumulate
    if isLate { remains.late.append(gradient) }
  }

  private func zeros(_ tensor: Tensor) -> SlotRef {
    let zero = tape.append(.scalar, tensor.slot.pointee.type, shape: LayoutTable.scalar)
    return tape.makeSlot(
      tape.append(.copy, tensor.slot.pointee.type, shape: tensor.shapeID, a: zero))
  }

  // MARK: Clearing and checking

  /// Clears the graph of a node without differentiating it.
  func clear(below head: UInt32) {
    let start = tape.count
    var remains = PassRemains()
    remains.cleared = markCleared(below: head)
    tape.finishPass(remains, since: start)
  }

  /// Marks the graph of a node as cleared; with `constantsOnly` as far as no variable is reached, whose
  /// own graph may still be wanted; with `viewsOnly` the views that a view was made of, whose base is
  /// another's business.
  ///
  /// - Returns: What is in memory and can be let go.
  private func markCleared(
    below head: UInt32, constantsOnly: Bool = false, viewsOnly: Bool = false
  ) -> [UInt32] {
    var released: [UInt32] = []
    var marked: Set<UInt32> = [head]
    var work = [head]
    while let id = work.popLast() {
      if constantsOnly, pass.wants(id) { continue }
      if let source = tape.importedNode(id), marked.insert(source).inserted { work.append(source) }
      guard tape[id].state.contains(.tracked) else { continue }
      if let parent = tape.viewParent(id), marked.insert(parent).inserted { work.append(parent) }
      for operand in viewsOnly ? [] : [tape.a(id), tape.b(id), tape.c(id)]
      where operand != id && marked.insert(operand).inserted {
        work.append(operand)
      }
      tape.markCleared(id)
      if tape[id].state.contains(.evaluated) { released.append(id) }
    }
    return released
  }

  /// Whether gradients flow to a record, also if none of those is wanted.
  private func isVariable(_ id: UInt32) -> Bool { tape[id].traits.contains(.variable) }

  /// Looks for cleared parts before anything changes, and for results of compiled functions that are not `ends`.
  private func check(_ heads: [UInt32], _ ends: Set<UInt32>) throws(InvalidBackprop) {
    // Like the walk: ids descend, and it ends when everything that was reached has been seen.
    guard var id = heads.max() else { return }
    let marks = tape.makePassState(upTo: id)
    defer { tape.recycle(marks) }
    func reach(_ operand: UInt32) {
      if marks[operand] == 0 { tape.setAdjoint(marks, operand, PassState.passedOn) }
    }
    func check(_ operand: UInt32) throws(InvalidBackprop) {
      if operand == id || !isVariable(operand) || ends.contains(operand) { return }
      if tape.isCutOff(operand, from: id) {
        if tape[operand].traits.contains(.cutOff) { throw .compiledFunction }
        throw .clearedGraph(operation: tape.operationName(id))
      }
      reach(operand)
    }
    for head in heads {
      if tape[head].traits.contains(.cutOff), !ends.contains(head) { throw .compiledFunction }
      reach(head)
    }
    while id >= marks.fields.pointee.lowest {
      let mark = tape.takeAdjoint(marks, id)
      if mark != 0 {
        tape.endVisit(id, mark)
        if let source = tape.importedNode(id) {
          try check(source)
        } else if tape[id].state.contains(.tracked) {
          try check(tape.a(id))
          try check(tape.b(id))
          try check(tape.c(id))
        }
      }
      if id == 0 { break }
      id -= 1
    }
  }
}
