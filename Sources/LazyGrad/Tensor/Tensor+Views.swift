// Views and their base: who knows whom, how an in-place update reaches all views, and how a view that
// was cut off is joined to its base's graph again.

internal import LazyGradJIT

extension Tensor {
  /// The base, for a view.
  @inline(__always)
  var baseTensor: Tensor? {
    kind == .view ? unsafeDowncast(relation.unsafelyUnwrapped, to: Tensor.self) : nil
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
