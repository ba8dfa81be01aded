// What one backward pass knows: the gradients that it has gathered so far. It belongs to the pass, not
// to the tape, because a pass lets go of the tape's lock while it runs a piece or the program's code, and
// other passes run on the tape meanwhile: those of other tasks, and those that such code begins.

/// The gradients that a pass has gathered, by the ids of the nodes that they are for.
///
/// A node that has been reached and not been visited yet has one more use, and so has its gradient.
/// So neither is freed, whoever drops, evaluates or clears what names it, and a gradient counts as read
/// when something is evaluated in between. Everything here is done under the tape's lock.
public struct PassState {
  /// What a handle to it refers to.
  public struct Fields {
    /// By node: the id + 1 of its gradient, `passedOn`, or 0. Zeros between two passes.
    @usableFromInline var adjoints = ZeroedWords()
    /// The oldest node that has been reached. Not their number: that would be counted up and down
    /// through memory at every node, each time waiting for the last.
    public var lowest = UInt32.max
    /// The nodes that have been reached, some of which have been visited since.
    @usableFromInline var reached = RawList<UInt32>()
  }
  /// The fields, which stay where they are.
  public let fields: UnsafeMutablePointer<Fields>

  /// The adjoint of a node that what reaches it goes past, so that it only counts as reached.
  public static var passedOn: UInt32 { .max }

  init() {
    fields = .allocate(capacity: 1)
    fields.initialize(to: Fields())
  }

  /// The adjoint of a node.
  @inlinable
  public subscript(id: UInt32) -> UInt32 {
    @inline(__always) get { fields.pointee.adjoints.base[Int(id)] }
  }
}

extension Tape {
  /// A pass's state for nodes up to `head`.
  package func makePassState(upTo head: UInt32) -> PassState {
    let pass = state.pointee.idlePasses.popLast() ?? PassState()
    pass.fields.pointee.adjoints.reserve(Int(head) + 1)
    return pass
  }

  /// Gives a pass's state back, whether or not the pass has visited all that it has reached.
  package func recycle(_ pass: PassState) {
    for i in 0..<pass.fields.pointee.reached.count {
      let id = pass.fields.pointee.reached[i]
      if pass[id] != 0 { endVisit(id, takeAdjoint(pass, id)) }
    }
    pass.fields.pointee.lowest = .max
    pass.fields.pointee.reached.removeAll()
    state.pointee.idlePasses.append(pass)
  }

  /// Gives back what passes over a large arena, which is empty now, have taken.
  func shrinkPassStates() {
    state.pointee.marks.shrink()
    for i in 0..<state.pointee.idlePasses.count {
      state.pointee.idlePasses[i].fields.pointee.adjoints.shrink()
    }
  }

  /// Others may use the tape, but not move its records, until `resumePass`.
  func suspendPass() {
    state.pointee.inFlight += 1
    state.pointee.suspendedPasses += 1
  }

  func resumePass() {
    state.pointee.inFlight -= 1
    state.pointee.suspendedPasses -= 1
  }

  /// Gives a node its gradient, so that the walk comes by.
  @inlinable @inline(__always)
  public func setAdjoint(_ pass: PassState, _ id: UInt32, _ adjoint: UInt32) {
    let nodes = state.pointee.nodes
    let old = pass.fields.pointee.adjoints.base[Int(id)]
    pass.fields.pointee.adjoints.base[Int(id)] = adjoint
    if old == 0 {
      if id < pass.fields.pointee.lowest { pass.fields.pointee.lowest = id }
      pass.fields.pointee.reached.append(id)
      nodes[Int(id)].uses &+= 1
    } else if old != PassState.passedOn {
      nodes[Int(old &- 1)].uses &-= 1
    }
    if adjoint != PassState.passedOn { nodes[Int(adjoint &- 1)].uses &+= 1 }
  }

  /// Takes the gradient of a node that the walk comes by. The node and the gradient keep their
  /// additional uses until `endVisit`.
  @inlinable @inline(__always)
  public func takeAdjoint(_ pass: PassState, _ id: UInt32) -> UInt32 {
    let adjoint = pass.fields.pointee.adjoints.base[Int(id)]
    pass.fields.pointee.adjoints.base[Int(id)] = 0
    return adjoint
  }

  /// Ends what keeps a node that has been visited, and its gradient. The node is freed where nothing
  /// else names it any more; the gradient is not, since a copied pass must find it where it was.
  @inlinable @inline(__always)
  public func endVisit(_ id: UInt32, _ adjoint: UInt32) {
    let nodes = state.pointee.nodes
    if adjoint != PassState.passedOn { nodes[Int(adjoint &- 1)].uses &-= 1 }
    nodes[Int(id)].uses &-= 1
    if nodes[Int(id)].uses == 0, nodes[Int(id)].slot == nil { freeUnread(id) }
  }

  /// The gradients that a pass has gathered and that have to be computed.
  ///
  /// - Complexity: O(nodes reached since the last time, and those not visited yet).
  package func gathered(_ pass: PassState) -> [UInt32] {
    let reached = pass.fields.pointee.reached
    var rest: [UInt32] = []
    var gradients: [UInt32] = []
    for i in 0..<reached.count where pass[reached[i]] != 0 {
      rest.append(reached[i])
      let adjoint = pass[reached[i]]
      // A number is in its record.
      if adjoint != PassState.passedOn, nodes[Int(adjoint &- 1)].opcode != .scalar {
        gradients.append(adjoint &- 1)
      }
    }
    pass.fields.pointee.reached.removeAll()
    for id in rest { pass.fields.pointee.reached.append(id) }
    return gradients
  }
}
