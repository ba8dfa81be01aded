// Objects of views that are used again, as RecentObjects.swift does with those of other results: a program
// that takes one part of a tensor after the other makes and drops an object of the same base every time.

/// The objects of views that a tape keeps, a few at most, and for each base one.
///
/// A view holds on to its base, so a kept one is given up as soon as the program has made views of that many other
/// bases, and whenever the tape is settled.
struct RecentViews {
  struct Place {
    /// What a view was last made of here.
    var base: SlotRef?
    /// A view of that, with a reference that is the tape's, and its handle.
    var object: UnsafeMutableRawPointer?
    var slot: SlotRef?
    /// The base's object, which the view has a reference to.
    var owner: UnsafeMutableRawPointer?
  }
  static var capacity: Int { 4 }

  let places = UnsafeMutablePointer<Place>.allocate(capacity: RecentViews.capacity)
  /// Objects that are kept now.
  var count = 0
  /// The place that is taken next for a base that has none.
  var next = 0
  /// How often the kept object was in use when a view of its base was made.
  var misses: UInt8 = 0

  init() { places.initialize(repeating: Place(), count: Self.capacity) }

  /// The place of a base, if it has one.
  @inline(__always)
  func place(of base: SlotRef) -> UnsafeMutablePointer<Place>? {
    for i in 0..<RecentViews.capacity where places[i].base == base { return places + i }
    return nil
  }
}

/// A view as recording returns it: an object with a reference that is the caller's.
package struct NewView {
  /// nil: nothing was recorded.
  package let object: UnsafeMutableRawPointer?
  /// One to which the tape gives up its reference: released when the tape is not locked any more.
  package let givenUp: UnsafeMutableRawPointer?

  static var none: NewView { NewView(object: nil, givenUp: nil) }
}

extension Tape {
  /// The view of a base that nobody has any more, if one is kept, without a value and with a reference
  /// that is the caller's.
  @inline(__always)
  func takeRecentView(of base: SlotRef) -> (object: UnsafeMutableRawPointer, slot: SlotRef)? {
    guard let place = state.pointee.recentViews.place(of: base),
      let object = place.pointee.object, state.pointee.recent.isSole(object)
    else { return nil }
    let slot = place.pointee.slot.unsafelyUnwrapped
    releaseValue(slot)
    // Nobody else counts references to it meanwhile: who goes along the views of a base has that base, as our
    // caller has, and a tensor belongs to one task at a time.
    state.pointee.recent.retainSole(object)
    return (object, slot)
  }

  /// Keeps the object of a view that was just made if there was one of the same base lately: a program that takes
  /// one view of each pays nothing.
  ///
  /// - Returns: An object to which the tape gives up its reference.
  @inline(never)
  func keepView(
    _ object: UnsafeMutableRawPointer, _ slot: SlotRef, of base: SlotRef,
    _ owner: UnsafeMutableRawPointer
  ) -> UnsafeMutableRawPointer? {
    guard let place = state.pointee.recentViews.place(of: base) else { return takePlace(for: base) }
    if state.pointee.count &- state.pointee.windowStart < state.pointee.limits.keptRecords
      || !state.pointee.recent.canKeep
    {
      return nil
    }
    let old = place.pointee.object
    if old != nil {
      state.pointee.recentViews.misses &+= 1
      if state.pointee.recentViews.misses % 8 != 0 { return nil }
    }
    _ = Unmanaged<AnyObject>.fromOpaque(object).retain()
    place.pointee = RecentViews.Place(base: base, object: object, slot: slot, owner: owner)
    state.pointee.recentViews.count += old == nil ? 1 : 0
    return old
  }

  /// Gives a base the place of another.
  ///
  /// - Returns: The object that was kept there.
  private func takePlace(for base: SlotRef) -> UnsafeMutableRawPointer? {
    // No remainder: to divide would take as long as the rest.
    let last = state.pointee.recentViews.next
    let next = last < state.pointee.limits.recentViews ? last : 0
    let old = state.pointee.recentViews.places[next].object
    state.pointee.recentViews.places[next] = RecentViews.Place(base: base)
    state.pointee.recentViews.count -= old == nil ? 0 : 1
    state.pointee.recentViews.next = next + 1
    return old
  }

  /// Gives up the view of a base that is kept, which only the tape may have: who goes along the views of a base
  /// does not meet it then.
  ///
  /// - Returns: The object, to be released when the tape is not locked any more.
  package func takeKeptView(of base: SlotRef) -> UnsafeMutableRawPointer? {
    guard let place = state.pointee.recentViews.place(of: base),
      let object = place.pointee.object
    else { return nil }
    place.pointee.object = nil
    state.pointee.recentViews.count -= 1
    return object
  }

  /// Takes the value of every view that nobody has any more, and of its base where that is gone but for the view,
  /// and gives up all that are kept.
  func settleViews(_ giveUp: (UnsafeMutableRawPointer) -> Void) {
    for i in 0..<RecentViews.capacity {
      let place = state.pointee.recentViews.places + i
      guard let object = place.pointee.object else { continue }
      if state.pointee.recent.isSole(object) {
        releaseValue(place.pointee.slot.unsafelyUnwrapped)
        if isGone(place.pointee.owner.unsafelyUnwrapped) {
          releaseValue(place.pointee.base.unsafelyUnwrapped)
        }
      }
      place.pointee.object = nil
      giveUp(object)
    }
    state.pointee.recentViews.count = 0
  }

  /// Whether only one view has a reference to an object, beside what the tape keeps.
  private func isGone(_ base: UnsafeMutableRawPointer) -> Bool {
    if state.pointee.recent.isSole(base) { return true }
    guard state.pointee.recent.hasTwo(base) else { return false }
    return (0..<state.pointee.recent.count).contains {
      state.pointee.recent.places[$0].object == base
    }
  }
}
