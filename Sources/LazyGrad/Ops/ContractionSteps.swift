// The tensor operations that a contraction amounts to, and where they are remembered: to find them out
// takes a hundred times as long as to record a small product. Uses Tensor and the layouts of the engine.

internal import LazyGradJIT
import Synchronization

/// An operation of a contraction, on tensors by their numbers: the operands, then the results in turn.
enum ContractionStep: Sendable {
  case diagonal(Int, Int, Int)
  case squeezed(Int, Int)
  case transposed(Int, [Int])
  case reshaped(Int, [Int])
  /// In the tensor's own type.
  case sum(Int, [Int])
  case multiplied(Int, Int)
  case matmul(Int, Int)

  func run(_ tensors: [Tensor]) -> Tensor {
    switch self {
    case .diagonal(let i, let axis1, let axis2):
      return tensors[i].diagonal(axis1: axis1, axis2: axis2)
    case .squeezed(let i, let axis): return tensors[i].squeezed(axis: axis)
    case .transposed(let i, let order): return tensors[i].transposed(order)
    case .reshaped(let i, let dims): return tensors[i].reshaped(dims)
    case .sum(let i, let axes):
      let sum = tensors[i].sum(axes: axes)
      return sum.dtype == tensors[i].dtype ? sum : sum.cast(to: tensors[i].dtype)
    case .multiplied(let i, let j): return tensors[i] * tensors[j]
    case .matmul(let i, let j): return LazyGrad.matmul(tensors[i], tensors[j])
    }
  }
}

/// A contraction of some operands, which is carried out while its steps are found out.
final class ContractionWork {
  let operands: [Tensor]
  private(set) var tensors: [Tensor]
  private(set) var steps: [ContractionStep] = []

  init(_ operands: [Tensor]) {
    self.operands = operands
    tensors = operands
  }

  /// Takes a step; the number of its result.
  func take(_ step: ContractionStep) -> Int {
    tensors.append(step.run(tensors))
    steps.append(step)
    return tensors.count - 1
  }

  /// A tensor in a shape of as many elements.
  func shaped(_ number: Int, _ dims: [Int]) -> Int {
    tensors[number].shape == dims ? number : take(.reshaped(number, dims))
  }

  /// Carries out known steps. To show the operands is no use of them, so diagonals come before.
  func run(_ known: [ContractionStep]) -> Tensor {
    let isView = { (step: ContractionStep) in if case .diagonal = step { true } else { false } }
    let first = known.firstIndex { !isView($0) } ?? known.count
    for step in known[..<first] { tensors.append(step.run(tensors)) }
    for operand in operands { operand.use() }
    for step in known[first...] { tensors.append(step.run(tensors)) }
    return result(tensors.count - 1)
  }

  /// One of the tensors as what the operation returns: a view of none but an operand.
  func result(_ number: Int) -> Tensor {
    let tensor = tensors[number]
    guard let base = tensor.baseTensor, poisoned(tensor) == nil else { return tensor }
    let isTheirs = operands.contains { $0 === base || $0.baseTensor === base }
    return isTheirs ? tensor : Tensor(tensor.recordView(tensor.shapeID, 0))
  }
}

/// The steps of contractions that were carried out lately.
///
/// They hang on the subscripts and on how the operands lie in memory, and on nothing else.
package final class ContractionMemo: Sendable {
  package static let shared = ContractionMemo()

  struct Contraction: Hashable {
    /// More operands are not remembered.
    static var mostOperands: Int { 4 }
    private let subscripts: String
    private var layouts = SIMD4<LayoutID>(repeating: .max)
    /// Which operands are of 16 bits, as bits: what is multiplied is a copy then, which lies in C order.
    private var widened = 0

    init?(_ subscripts: String, _ operands: [Tensor]) {
      if operands.count > Self.mostOperands { return nil }
      self.subscripts = subscripts
      for (i, operand) in operands.enumerated() {
        if operand.kind == .poisoned { return nil }
        layouts[i] = operand.kind == .view ? operand.viewLayout : operand.slot.pointee.shape
        if operand.isHalf { widened |= 1 << i }
      }
    }
  }
  private struct State {
    var steps: [Contraction: [ContractionStep]] = [:]
    /// Keys name layouts, which are freed and numbered again.
    var generation: UInt32 = 0
  }
  private let state = Lock(State())
  /// How many are remembered; then all are forgotten.
  private let limit = Atomic<Int>(256)

  func steps(_ key: Contraction) -> [ContractionStep]? {
    state.withLock { $0.generation == LayoutTable.generation ? $0.steps[key] : nil }
  }

  func remember(_ key: Contraction, _ steps: [ContractionStep]) {
    state.withLock { state in
      let generation = LayoutTable.generation
      let limit = limit.load(ordering: .relaxed)
      if state.generation != generation || state.steps.count >= limit { state.steps = [:] }
      state.generation = generation
      if limit > 0 { state.steps[key] = steps }
    }
  }

  /// Remembers so many at most while `body` runs: for tests.
  package func withLimit<R>(_ count: Int, _ body: () throws -> R) rethrows -> R {
    let before = limit.exchange(count, ordering: .relaxed)
    defer { limit.store(before, ordering: .relaxed) }
    return try body()
  }
}
