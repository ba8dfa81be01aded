// Views and their base: who knows whom, how an in-place update reaches all views, and how a view that
// was cut off is joined to its base's graph again.

internal import LazyGradJIT

extension Tensor {
  /// The base, for a view.
  @inline(__always)
  var baseTensor: Tensor? {
    kind == .view ? unsafeDowncast(relation.unsafelyUnwrapped, to: Tensor.self) : nil
  }

  /// Runs `body` with the base of a view, which the view keeps: it takes no reference.
  @inline(__always)
  private func withBase<R>(_ body: (Tensor) -> R) -> R {
    unretainedBase._withUnsafeGuaranteedRef(body)
  }

  // MARK: Recording views

  /// Records this tensor's value under a layout over its elements in C order; `parent`: the view of this
  /// tensor that the new one was made of.
  func recordView(
    _ layout: LayoutID, _ offset: Int, _ mode: RecordMode = Scope.mode, of parent: SlotRef? = nil
  ) -> SlotRef {
    Tape.view(slot, of: parent, mode: mode, layout: layout, offset: offset)
  }

  /// The view of this tensor that `key` asks for, if the tape remembers its layout; `start`: how far from
  /// this tensor's first element it begins.
  @inline(__always)
  func known(_ key: ViewKey, from start: Int = 0) -> Tensor? {
    switch kind {
    case .plain: known(key, offset: start, nil)
    case .view: withBase { $0.known(key, offset: viewOffset + start, slot) }
    case .poisoned: nil
    }
  }

  /// The same for a base, with `parent` as above.
  @inline(__always)
  private func known(_ key: ViewKey, offset: Int, _ parent: SlotRef?) -> Tensor? {
    let mode = Scope.mode
    let new = Tape.knownView(
      slot, Unmanaged.passUnretained(self).toOpaque(), of: parent, key, offset: offset, mode: mode
    ) {
      Tensor.view($0, base: self, offset: offset, mode)
    } renew: {
      Unmanaged<Tensor>.fromOpaque($0)._withUnsafeGuaranteedRef {
        $0.renew(from: offset, isTracking: mode.isTracking)
      }
    }
    if let old = new.givenUp { Unmanaged<Tensor>.fromOpaque(old).release() }
    guard let object = new.object else { return nil }
    return Tensor.made(object)
  }

  /// A view of this tensor's base with a layout over the base's elements, which `key` has asked for.
  func view(layout: LayoutID, offset: Int, _ key: ViewKey? = nil) -> Tensor {
    let base = baseTensor ?? self
    let mode = Scope.mode
    let object = Tape.view(
      base.slot, of: kind == .view ? slot : nil, layout: layout, offset: offset, key, mode: mode
    ) {
      Tensor.view($0, base: base, offset: offset, mode)
    }
    return Tensor.made(object)
  }

  /// The object of a view's handle, while the tape of the base is locked.
  @inline(__always)
  private static func view(
    _ slot: SlotRef, base: Tensor, offset: Int, _ mode: RecordMode
  ) -> UnsafeMutableRawPointer {
    Unmanaged.passRetained(Tensor(slot, base: base, offset: offset, mode)).toOpaque()
  }

  /// The view that this was made for.
  @inline(__always)
  private static func made(_ object: UnsafeMutableRawPointer) -> Tensor {
    let view = Unmanaged<Tensor>.fromOpaque(object).takeRetainedValue()
    if view.slot.pointee.isWindowFull { view.forceFullWindow() }
    return view
  }

  /// The layout of this tensor over its base, or over itself.
  var ownLayout: (layout: Layout, offset: Int) {
    (withOwnLayout { $0 }, kind == .view ? viewOffset : 0)
  }

  /// Runs `body` with the layout of this tensor's shape, without a reference to it.
  @inline(__always)
  func withLayout<R>(_ body: (Layout) -> R) -> R {
    Tape.ownLayout(of: slot, isView: false)._withUnsafeGuaranteedRef(body)
  }

  /// Runs `body` with the layout of this tensor over its base, or over itself, which the handle names: it
  /// takes no reference.
  @inline(__always)
  func withOwnLayout<R>(_ body: (Layout) -> R) -> R {
    Tape.ownLayout(of: slot, isView: kind == .view)._withUnsafeGuaranteedRef(body)
  }

  func view(dims: [Int], strides: [Int], _ key: ViewKey) -> Tensor {
    view(
      layout: LayoutTable.shared.intern(dims: dims, strides: strides), offset: ownLayout.offset, key
    )
  }

  // MARK: The views of a base

  // A base knows its live views, without keeping them alive: each names the next and the one before. They
  // may be dropped by other tasks, so the chain is changed with the tape of the base locked: to lock
  // that takes no atomic exchange, and who makes or drops a view has locked it already.

  /// Puts a new view at the front of its base's views. The tape of the base is locked.
  @inline(__always)
  func link(to base: Tensor) {
    let this = Unmanaged.passUnretained(self)
    nextView = base.nextView
    base.nextView?._withUnsafeGuaranteedRef { $0.previousView = this }
    base.nextView = this
  }

  /// Takes a view that is about to go out of its base's views. The tape of the base is locked.
  ///
  /// - Returns: Whether that was possible: not while somebody goes along the chain.
  @inline(__always)
  func unlink(from base: Tensor) -> Bool {
    if base.isWalkingViews { return false }
    nextView?._withUnsafeGuaranteedRef { $0.previousView = previousView }
    if let previousView {
      previousView._withUnsafeGuaranteedRef { $0.nextView = nextView }
    } else {
      base.nextView = nextView
    }
    return true
  }

  /// Runs `body` for every view that this tensor has now. Meanwhile views may be added, which are in front
  /// of those, and none is taken out.
  private func forEachView(_ body: (Tensor) -> Void) {
    var tape = Tape.hold(slot)
    if let kept = tape.takeKeptView(of: slot) {
      tape.unlock()
      Unmanaged<Tensor>.fromOpaque(kept).release()
      tape = Tape.hold(slot)
    }
    while isWalkingViews {
      tape.unlock()
      yieldThread()
      tape = Tape.hold(slot)
    }
    var next = nextView
    isWalkingViews = next != nil
    tape.unlock()
    if next == nil { return }
    while let view = next {
      view._withUnsafeGuaranteedRef {
        body($0)
        next = $0.nextView
      }
    }
    tape = Tape.hold(slot)
    isWalkingViews = false
    tape.unlock()
  }

  /// Records the views of a tensor that an in-place update has given a new value: they show it from now
  /// on, and lock its memory as any operation does. What was recorded on the old value keeps it.
  ///
  /// A view is as differentiable as its base, whatever it was before.
  /// - Complexity: O(live views).
  func renewViews() {
    let mode = Scope.mode
    forEachView { view in
      view.isUntracked = !mode.isTracking
      Tape.replace(view.slot, with: recordView(view.viewLayout, view.viewOffset, mode))
    }
  }

  // MARK: Views that were cut off

  /// Connects a view to its base again where a backward pass or `noAutodiff` has cut the way for gradients.
  ///
  /// Not before it is certain that the operation can be carried out: this changes what the view locks.
  @inline(__always)
  func rejoin() {
    if kind == .view { rejoinView() }
  }

  @inline(never)
  private func rejoinView() {
    guard let base = baseTensor, slot.pointee.isVariable, Scope.isTracking, Tape.isCutOffView(slot)
    else { return }
    // What it locks so far it goes on locking, though the guard may be off now.
    let mode = Scope.mode.guarding(Scope.mode.isGuarding || Tape.isGuardedView(slot))
    Tape.replace(slot, with: base.recordView(viewLayout, viewOffset, mode))
  }
}
