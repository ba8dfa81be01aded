// Objects of handles that are used again. A program that computes makes and drops a tensor with every
// operation; to allocate an object and to free it takes longer than to record the operation. So the tape
// keeps a reference to a few objects that were made lately, and when nobody else has one any more the
// next operation gets that object, with its slot.

import Synchronization

/// A handle as an operation returns it.
package struct NewHandle {
  package let slot: SlotRef
  /// The object to hand out, with a reference that is the caller's; nil: there has to be a new one.
  package let object: UnsafeMutableRawPointer?
  /// Whether the tape wants to keep the new object (`Tape.keep`).
  package let isWanted: Bool

  @inline(__always)
  init(_ slot: SlotRef, object: UnsafeMutableRawPointer? = nil, isWanted: Bool = false) {
    self.slot = slot
    self.object = object
    self.isWanted = isWanted
  }
}

/// The objects that a tape keeps.
///
/// That one was dropped is seen when its place comes up, or when somebody asks for something that
/// depends on it: everything but recording goes through `Tape.withSettled`, in which only objects are
/// kept whose handle has no value. So nothing is computed, locked or held in memory for a tensor that is
/// gone; but as long as a thread does nothing at all, what its last few operations read stays.
struct RecentObjects {
  struct Place {
    var object: UnsafeMutableRawPointer
    var slot: SlotRef
  }
  static var capacity: Int { 8 }

  let places = UnsafeMutablePointer<Place>.allocate(capacity: RecentObjects.capacity)
  var count = 0
  /// The place that is looked at next.
  var next = 0
  /// How often there was none to be had.
  var misses: UInt8 = 0
  private let marks = RecentObjects.findMarks()

  /// Whether the run-time's words are what they have to be for objects to be kept.
  var canKeep: Bool { marks.one != 0 }

  /// Whether the tape has the only reference to an object.
  @inline(__always)
  func isSole(_ object: UnsafeMutableRawPointer) -> Bool {
    RecentObjects.mark(of: object) == marks.one
  }

  /// Whether an object has two references.
  func hasTwo(_ object: UnsafeMutableRawPointer) -> Bool {
    RecentObjects.mark(of: object) == marks.two
  }

  /// Adds a reference to an object of which the tape has the only one. Nobody else can get at its word
  /// meanwhile, so it is written; to count up as others might takes as long as half of the recording.
  @inline(__always)
  func retainSole(_ object: UnsafeMutableRawPointer) {
    RecentObjects.word(of: object).pointee.store(marks.two, ordering: .relaxed)
  }

  @inline(__always)
  private static func word(of object: UnsafeMutableRawPointer) -> UnsafeMutablePointer<Atomic<UInt>>
  {
    (object + MemoryLayout<UInt>.size).assumingMemoryBound(to: Atomic<UInt>.self)
  }

  /// The word of an object that counts its references. Whoever lets go of an object does so after the
  /// last access to it, which is seen by who reads the word.
  @inline(__always)
  private static func mark(of object: UnsafeMutableRawPointer) -> UInt {
    word(of: object).pointee.load(ordering: .acquiring)
  }

  /// Finds out what the run-time writes before an object that has one reference, and that nobody can
  /// come by in another way, by a weak one; and before one that has two. 0 where the first does not tell
  /// such an object from all others. `isKnownUniquelyReferenced` does not ask for weak references.
  private static func findMarks() -> (one: UInt, two: UInt) {
    final class Probe {}
    let probe = UnsafeMutableRawPointer(Unmanaged.passRetained(Probe()).toOpaque())
    let sole = mark(of: probe)
    retain(probe)
    let two = mark(of: probe)
    release(probe)
    let again = mark(of: probe)
    weak let weakly = Unmanaged<Probe>.fromOpaque(probe).takeUnretainedValue()
    let isTold = weakly != nil && mark(of: probe) != sole && two != sole && again == sole
    release(probe)
    return isTold ? (sole, two) : (0, 0)
  }

  /// Not inlined: a reference that is taken and given up in one function is none.
  @inline(never)
  private static func retain(_ object: UnsafeMutableRawPointer) {
    _ = Unmanaged<AnyObject>.fromOpaque(object).retain()
  }

  @inline(never)
  private static func release(_ object: UnsafeMutableRawPointer) {
    Unmanaged<AnyObject>.fromOpaque(object).release()
  }
}

/// References that a tape has given up, to be released when it is no longer locked: the last one takes
/// its handle along. As many as a tape keeps objects and views at most.
private struct GivenUp {
  private var objects = SIMD16<UInt>()
  private var count = 0

  fileprivate mutating func append(_ object: UnsafeMutableRawPointer) {
    objects[count] = UInt(bitPattern: object)
    count += 1
  }

  func release() {
    for i in 0..<count {
      Unmanaged<AnyObject>.fromOpaque(UnsafeRawPointer(bitPattern: objects[i])!).release()
    }
  }
}

extension Tape {
  /// The handle of an object that nobody has any more, if there is one, without a value.
  @inline(__always)
  func takeRecent() -> RecentObjects.Place? {
    if state.pointee.recent.count == 0 { return nil }
    let place = state.pointee.recent.places[state.pointee.recent.next]
    if !state.pointee.recent.isSole(place.object) { return searchRecent() }
    advance()
    releaseValue(place.slot)
    return place
  }

  @inline(never)
  private func searchRecent() -> RecentObjects.Place? {
    for _ in 0..<2 {
      advance()
      let place = state.pointee.recent.places[state.pointee.recent.next]
      if !state.pointee.recent.isSole(place.object) { continue }
      advance()
      releaseValue(place.slot)
      return place
    }
    return nil
  }

  @inline(__always)
  private func advance() {
    let next = state.pointee.recent.next + 1
    state.pointee.recent.next = next < state.pointee.recent.count ? next : 0
  }

  /// A new handle for a node, with a used object where there is one.
  @inline(__always)
  func makeHandle(_ id: UInt32, _ recent: RecentObjects.Place?) -> NewHandle {
    let node = nodes + Int(id)
    return makeHandle(
      id, shape: node.pointee.shape, type: node.pointee.type, traits: node.pointee.traits, recent)
  }

  /// The same for a node of which this is known.
  @inline(__always)
  func makeHandle(
    _ id: UInt32, shape: LayoutID, type: ScalarType, traits: Node.Traits,
    _ recent: RecentObjects.Place?
  ) -> NewHandle {
    if let recent {
      state.pointee.recent.retainSole(recent.object)
      fill(recent.slot, id, shape: shape, type: type, traits: traits)
      return NewHandle(recent.slot, object: recent.object)
    }
    let isWanted =
      state.pointee.count &- state.pointee.windowStart >= state.pointee.limits.keptRecords
      && wantsObject()
    return NewHandle(
      makeSlot(id, shape: shape, type: type, traits: traits), isWanted: isWanted)
  }

  /// Where all objects that are kept are in use, one in eight takes the place of one of them: a program
  /// that holds on to what it computes pays for keeping objects and gets nothing.
  @inline(never)
  private func wantsObject() -> Bool {
    if !state.pointee.recent.canKeep { return false }
    state.pointee.recent.misses &+= 1
    return state.pointee.recent.count < RecentObjects.capacity
      || state.pointee.recent.misses % 8 == 0
  }

  /// Keeps the object of a handle that was just made, with a reference that is the tape's.
  ///
  /// All objects must be of one class, and everything that they say in their handles.
  package static func keep(_ object: UnsafeMutableRawPointer, _ slot: SlotRef) {
    let tape = hold(slot)
    let place = RecentObjects.Place(object: object, slot: slot)
    let count = tape.state.pointee.recent.count
    if count < RecentObjects.capacity {
      (tape.state.pointee.recent.places + count).initialize(to: place)
      tape.state.pointee.recent.count = count + 1
      tape.unlock()
      return
    }
    let next = tape.state.pointee.recent.next
    var old = GivenUp()
    old.append(tape.state.pointee.recent.places[next].object)
    tape.state.pointee.recent.places[next] = place
    tape.advance()
    tape.unlock()
    old.release()
  }

  /// Runs `body`, which asks what the program still has, on a tape that is locked, and unlocks it.
  ///
  /// Handles whose tensors are gone are dropped before, and the objects of the others given up: whoever
  /// drops those drops their values with them.
  @inline(__always)
  package func withSettled<R, E>(_ body: () throws(E) -> R) throws(E) -> R {
    let givenUp = settle()
    defer {
      unlock()
      givenUp?.release()
    }
    return try body()
  }

  /// The same on two tapes.
  static func withSettled<R>(_ a: Tape, _ b: Tape, _ body: () -> R) -> R {
    let givenUp = (a.settle(), b.settle())
    let result = body()
    let leftovers = a.takeLeftovers() + b.takeLeftovers()
    a.unlock()
    b.unlock()
    Leftovers.release(leftovers)
    givenUp.0?.release()
    givenUp.1?.release()
    return result
  }

  @inline(__always)
  private func settle() -> GivenUp? {
    state.pointee.recent.count | state.pointee.recentViews.count == 0 ? nil : settleObjects()
  }

  @inline(never)
  private func settleObjects() -> GivenUp {
    var others = GivenUp()
    settleViews { others.append($0) }
    var kept = 0
    for i in 0..<state.pointee.recent.count {
      let place = state.pointee.recent.places[i]
      if state.pointee.recent.isSole(place.object) {
        releaseValue(place.slot)
        state.pointee.recent.places[kept] = place
        kept += 1
      } else {
        others.append(place.object)
      }
    }
    state.pointee.recent.count = kept
    state.pointee.recent.next = 0
    return others
  }

  /// Lets go of what the program does not have any more on a tape that is not locked.
  package func settleAlone() {
    lock()
    withSettled {}
  }

  /// The same on all tapes, for questions about the process.
  package static func settleAll() { all.forEach { $0.settleAlone() } }
}
