// Views and their base: who knows whom, how an in-place update reaches all views, and how a view that
// was cut off is joined to its base's graph again.

internal import LazyGradJIT

extension Tensor {
  /// The base, for a view.
  @inline(__always)
  var baseTensor: Tensor? {
    kind == .view ? unsafeDowncast(relation.unsafelyUnwrapped, to: Tensor.self) : nil
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
    let mode = Scope.mode
    switch kind {
    case .plain:
      return Tape.knownView(slot, key, offset: start, mode: mode).map {
        Tensor($0, base: self, offset: start, mode)
      }
    case .view:
      let base = baseTensor.unsafelyUnwrapped
      let offset = viewOffset + start
      return Tape.knownView(base.slot, of: slot, key, offset: offset, mode: mode).map {
        Tensor($0, base: base, offset: offset, mode)
      }
    case .poisoned: return nil
    }
  }

  /// A view of this tensor's base with a layout over the base's elements, which `key` has asked for.
  func view(layout: LayoutID, offset: Int, _ key: ViewKey? = nil) -> Tensor {
    let base = baseTensor
    let mode = Scope.mode
    if let key { Tape.remember(key, of: ownLayout.layout.id, as: layout, slot) }
    return Tensor(
      (base ?? self).recordView(layout, offset, mode, of: base == nil ? nil : slot),
      base: base ?? self, offset: offset, mode)
  }

  /// The layout of this tensor over its base, or over itself.
  var ownLayout: (layout: Layout, offset: Int) {
    kind == .view ? (LayoutTable.shared[viewLayout], viewOffset) : (layout, 0)
  }

  /// Runs `body` with the layout of this tensor over its base, or over itself, which the handle names: it
  /// takes no reference.
  @inline(__always)
  func withOwnLayout<R>(_ body: (Layout) -> R) -> R {
    let id = kind == .view ? viewLayout : slot.pointee.shape
    return Layout.unretained(id)._withUnsafeGuaranteedRef(body)
  }

  func view(dims: [Int], strides: [Int], _ key: ViewKey) -> Tensor {
    view(
      layout: LayoutTable.shared.intern(dims: dims, strides: strides), offset: ownLayout.offset, key
    )
  }

  // MARK: The views of a base

  // A base knows its live views, without keeping them alive: each names the next and the one before. They
  // may be dropped by other tasks, so the chain is walked and changed under a lock of its own.

  /// Puts a new view at the front of its base's views.
  func link(to base: Tensor) {
    let this = Unmanaged.passUnretained(self)
    base.withViews { first in
      nextView = first
      first?._withUnsafeGuaranteedRef { $0.previousView = this }
      first = this
    }
  }

  /// Takes a view that is about to go out of its base's views.
  func unlink(from base: Tensor) {
    base.withViews { first in
      nextView?._withUnsafeGuaranteedRef { $0.previousView = previousView }
      if let previousView {
        previousView._withUnsafeGuaranteedRef { $0.nextView = nextView }
      } else {
        first = nextView
      }
    }
  }

  /// Runs `body` with the first of this tensor's views, which it may change.
  @inline(__always)
  private func withViews(_ body: (inout Unmanaged<Tensor>?) -> Void) {
    while viewsAreBusy.exchange(true, ordering: .acquiring) { yieldThread() }
    body(&nextView)
    viewsAreBusy.store(false, ordering: .releasing)
  }

  /// Records the views of a tensor that an in-place update has given a new value: they show it from now
  /// on, and lock its memory as any operation does. What was recorded on the old value keeps it.
  ///
  /// A view is as differentiable as its base, whatever it was before.
  /// - Complexity: O(live views).
  func renewViews() {
    let mode = Scope.mode
    withViews { first in
      var next = first
      while let view = next {
        view._withUnsafeGuaranteedRef { view in
          view.isUntracked = !mode.isTracking
          Tape.replace(view.slot, with: recordView(view.viewLayout, view.viewOffset, mode))
          next = view.nextView
        }
      }
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
