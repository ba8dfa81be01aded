// What stands for a sample while a function of one sample is recorded, and what a tape must not do meanwhile.
// Uses the records.

extension Tape {
  /// Begins to record a function of one sample. Until that has ended nothing is run for want of space: what
  /// depends on a sample has no value.
  package func beginSamples() {
    liftLimits()
    state.pointee.sampleRuns += 1
  }

  /// Ends it.
  package func endSamples() {
    state.pointee.sampleRuns -= 1
    restoreLimits()
  }

  /// Goes on with what was begun on a tape whose records come onto this one.
  func takeSamples(of other: Tape) {
    while other.state.pointee.sampleRuns > 0 {
      other.endSamples()
      beginSamples()
    }
  }

  /// Records a value of a shape that nobody knows.
  package func sample(_ type: ScalarType, shape: LayoutID) -> UInt32 {
    // What gets out in spite of all is no number.
    let bits = type.isFloating ? Double.nan.bitPattern : 0
    let number = append(.scalar, type, shape: LayoutTable.scalar, payload: bits)
    return append(.copy, type, shape: shape, a: number, traits: .sample)
  }

  /// The shape of a batch of values of a shape, if there can be one.
  package func batchShape(_ shape: LayoutID, size: Int) -> LayoutID? {
    let key = ViewKey(.batched, size)
    if let known = state.pointee.views.known(key, of: shape, state.pointee.limits) {
      return known.layout
    }
    let dims = [size] + LayoutTable.shared[shape].dims
    if dims.count > LayoutTable.maxRank || !LayoutTable.isComputable(dims) { return nil }
    let layout = LayoutTable.shared.intern(dims: dims)
    state.pointee.views.remember(key, of: shape, as: layout, state.pointee.limits)
    return layout
  }

  /// The number of elements of a layout.
  package func count(_ layout: LayoutID) -> Int { facts(layout).pointee.count }

  /// Whether the values of nodes can't be computed, because they depend on samples.
  func needSamples(_ ids: [UInt32]) -> Bool {
    var work = ids
    var seen = Set(ids)
    while let id = work.popLast() {
      let node = nodes[Int(id)]
      if node.traits.contains(.sample) { return true }
      if node.storage != nil { continue }
      var operands: [UInt32]
      switch node.opcode {
      // The way that gradients take is no matter of values.
      case .attach: operands = node.b == 0 ? [] : [b(id)]
      case .view: operands = node.a == 0 ? [] : [a(id)]
      default: operands = [a(id), b(id), c(id)].filter { $0 != id }
      }
      if let source = importedNode(id) { operands.append(source) }
      for operand in operands where seen.insert(operand).inserted { work.append(operand) }
    }
    return false
  }

  /// Whether a handle's value depends on a sample, so that nobody can read it.
  package static func needsSamples(_ slot: SlotRef) -> Bool {
    let tape = hold(slot)
    defer { tape.unlock() }
    guard tape.state.pointee.sampleRuns > 0, let id = slot.node else { return false }
    return tape.needSamples([id])
  }
}
