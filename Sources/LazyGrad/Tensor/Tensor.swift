// The tensor: a thin handle on a node of the lazy graph or on a value. This file holds the stored
// state and the questions that never run anything; behaviour is in the extensions.

internal import LazyGradJIT
import Synchronization

/// An n-dimensional array that operations are recorded on, and that gradients flow through.
///
/// Operations only record. A value is computed when it is asked for: by `eval()`, `item()`,
/// `array`, `elements(as:)` or printing. What the program sees is always what immediate
/// evaluation, in the order in which it was written, would have given.
///
///     let x = Tensor([1.0, 2, 3])
///     let loss = (x * x).sum()      // two nodes are recorded
///     loss.backward()               // more nodes are recorded
///     x.gradient.elements            // all of it is fused and run: [2, 4, 6]
///
/// A tensor of a floating type is a *variable* unless it is made with `constant: true`; integers
/// and bools are always constants. Gradients belong to variables.
///
/// Tensors have reference identity: `grad` appears on the object that you hold, and an in-place
/// update is seen through every view. They belong to one task at a time and may move with it.
public final class Tensor {
  let slot: SlotRef
  /// The tensor that this one is a view of, or why it is poisoned; `kind` says which.
  var relation: AnyObject? { related?.takeUnretainedValue() }
  /// Held by hand: to release nothing is a call as well, for every tensor that is no view.
  @exclusivity(unchecked) private var related: Unmanaged<AnyObject>?
  /// For a view: the base's element that it begins with. What a tensor that is no view has none of
  /// stands together, and is zeroed together.
  @exclusivity(unchecked) private(set) var viewOffset: Int
  /// Changes only where there was no memory to record what this object was made for.
  @exclusivity(unchecked) private(set) var kind: Kind
  /// For a view: it was made inside `noAutodiff`, so differentiating it does not reach its base, even
  /// after later operations on it have. An in-place update gives it a new value, and ends that.
  var isUntracked: Bool
  /// For a base: whether somebody is going along the chain of its views.
  @exclusivity(unchecked) var isWalkingViews = false
  /// For a view: the next view of the same base, and the one before. For a base: its first view.
  @exclusivity(unchecked) var nextView: Unmanaged<Tensor>?
  @exclusivity(unchecked) var previousView: Unmanaged<Tensor>?

  enum Kind: UInt8 { case plain, view, poisoned }

  @inline(__always)
  init(_ slot: SlotRef) {
    self.slot = slot
    related = nil
    viewOffset = 0
    kind = .plain
    isUntracked = false
    if slot.pointee.isWindowFull { forceFullWindow() }
  }

  /// A view; the handle says its layout. The tape of the base is locked; afterwards the caller looks whether
  /// the window is full.
  @inline(__always)
  init(_ slot: SlotRef, base: Tensor, offset: Int, _ mode: RecordMode) {
    self.slot = slot
    related = Unmanaged.passRetained(base)
    viewOffset = offset
    kind = .view
    isUntracked = !mode.isTracking
    link(to: base)
  }

  /// Makes a view that nobody has any more another one of the same base.
  @inline(__always)
  func renew(from start: Int, isTracking: Bool) {
    viewOffset = start
    isUntracked = !isTracking
  }

  /// Makes the object without looking whether the window is full: while the tape is locked the next one
  /// looks.
  init(unchecked slot: SlotRef) {
    self.slot = slot
    related = nil
    viewOffset = 0
    kind = .plain
    isUntracked = false
  }

  init(poison: Poison) {
    slot = poison.makeSlot()
    related = Unmanaged.passRetained(poison)
    viewOffset = 0
    kind = .poisoned
    isUntracked = false
  }

  /// The base of a view.
  @inline(__always)
  var unretainedBase: Unmanaged<Tensor> {
    Unmanaged.fromOpaque(related.unsafelyUnwrapped.toOpaque())
  }

  deinit {
    if kind == .view {
      unretainedBase._withUnsafeGuaranteedRef { base in
        Tape.release(slot, viewOf: base.slot) { unlink(from: base) }
      }
    } else {
      Tape.release(slot)
    }
    if let related { related.release() }
  }

  /// A program that records without ever reading is run piece by piece, so that it can't exhaust
  /// memory.
  @inline(never)
  func forceFullWindow() {
    guard let poison = lackOfRecords() else { return }
    // A view stays one: the base's next operation is told.
    if kind == .view { return }
    dropRecord(for: poison)
    related = Unmanaged.passRetained(poison)
    kind = .poisoned
  }

  /// Takes this tensor's operation off the tape again.
  func dropRecord(for poison: Poison) {
    Tape.replace(slot, with: poison.makeSlot())
    Tape.dropDeadEnd(of: slot)
  }

  /// Runs what fills the window.
  ///
  /// - Returns: Why this tensor can't be recorded, where there is no memory for more records.
  @inline(never)
  func lackOfRecords() -> Poison? {
    // Once there was no memory, not again for every operation that is still recorded.
    if Scope.errors?.error?.cause != .outOfMemory {
      do throws(StorageError) { try Engine.forceHeld(with: slot) } catch {
        report(error, in: "eval")
      }
    }
    return Tape.lacksRecords(for: slot).map { count in
      LazyGrad.poison(
        TensorError(
          operation: "record", message: "no memory for more than \(count) recorded operations",
          cause: .outOfMemory))
    }
  }

  var poison: Poison? {
    kind == .poisoned ? unsafeDowncast(relation.unsafelyUnwrapped, to: Poison.self) : nil
  }
}

// MARK: - Properties that never run anything

extension Tensor {
  /// The length of every axis.
  public var shape: [Int] { withLayout { $0.dims } }

  /// The number of axes.
  public var rank: Int { Tape.rank(of: slot) }

  /// The number of elements.
  public var count: Int { Tape.count(of: slot) }

  /// The type of the elements.
  public var dtype: DType { DType(slot.pointee.type) }

  /// Whether gradients neither flow to nor through this tensor.
  public var isConstant: Bool { !slot.pointee.isVariable }

  /// The tensor that this one is a view of; nil for a tensor that is none.
  ///
  /// Collapsed as in NumPy: a view of a view names the tensor at the bottom. The relation lasts as
  /// long as the objects do.
  public var base: Tensor? { baseTensor }

  var layout: Layout { withLayout { $0 } }
  var shapeID: LayoutID { slot.pointee.shape }

  /// For a view: its index map over the base's elements in C order, beside `viewOffset`.
  var viewLayout: LayoutID { slot.pointee.view }
}

// `print` of an optional or of a list shows its elements' debug descriptions, and these shall be values, as
// those of other numbers are. So there is no conformance to `CustomDebugStringConvertible`: without one they
// are descriptions.
extension Tensor: CustomStringConvertible {
  /// The values, as NumPy prints them; also where a list of tensors, or an optional one, is printed.
  ///
  /// - Complexity: forces evaluation.
  public var description: String { ArrayPrinter.description(of: array, prefix: "Tensor") }

  /// Shape, type and state, without running anything.
  public var debugDescription: String {
    if let poison { return "Tensor(poisoned: \(poison.error))" }
    let state = Engine.isEvaluated(slot) ? "evaluated" : "recorded"
    let kind = isConstant ? "constant" : "variable"
    return "Tensor(shape: \(shape), dtype: \(dtype), \(kind), \(state))"
  }
}

extension Tensor: CustomReflectable {
  /// Shape, type and kind: a debugger that looks at a tensor runs nothing.
  public var customMirror: Mirror {
    Mirror(
      self, children: ["shape": shape, "dtype": dtype, "isConstant": isConstant],
      displayStyle: .class)
  }
}
