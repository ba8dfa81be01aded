// Means over several steps and all ranks, for networks that are slow or models that are small. Uses
// Communicator.

extension Communicator {
  /// Means that are taken over several calls on each rank, and over all ranks every `count`-th time.
  ///
  ///     let mean = world.mean(every: 4)
  ///     for rows in batches {
  ///       let loss = model.loss(rows)
  ///       let gradients = gradients(of: loss, withRespectTo: model.parameters)
  ///       if let means = try mean.add([loss] + gradients, weight: Double(rows.count)) {
  ///         optimizer.step(Array(means.dropFirst()))
  ///       }
  ///     }
  ///     if let means = try mean.rest() { optimizer.step(Array(means.dropFirst())) }
  ///
  /// - Parameters:
  ///   - count: How many calls of `add` there are to one mean; 1 or more, the same on all ranks.
  ///   - order: In which order numbers are added.
  public func mean(every count: Int, order: SummationOrder = .ranks) -> MeanAccumulator {
    MeanAccumulator(self, every: max(count, 1), order)
  }
}

/// Tensors that are added up on each rank until all ranks take their mean; made by `mean(every:)`.
///
/// It is the weighted mean over all calls of all ranks, so it makes the same step as a batch of all their rows.
public final class MeanAccumulator {
  private let world: Communicator
  private let order: SummationOrder
  /// How many calls of `add` there are to one mean.
  public let count: Int
  /// Calls since the last mean.
  private var calls = 0
  /// Sums of tensors times weights; empty after a mean.
  private var sums: [Tensor] = []
  private var types: [DType] = []
  private var weight = 0.0

  init(_ world: Communicator, every count: Int, _ order: SummationOrder) {
    (self.world, self.count, self.order) = (world, count, order)
  }

  /// Adds this rank's tensors; every `count`-th call gives the means, and is collective.
  ///
  /// - Parameters:
  ///   - tensors: Floats, in each call the same in shape and type.
  ///   - weight: How much they count; 0 or more. With 0 what they hold does not matter.
  /// - Returns: The means over all calls since the last ones and over all ranks, where it is time.
  /// - Throws: As `mean`; `CommunicationError` where the tensors are not those of the last call.
  /// - Complexity: forces evaluation.
  public func add(_ tensors: [Tensor], weight: Double = 1) throws -> [Tensor]? {
    if !(weight >= 0 && weight.isFinite) {
      throw CommunicationError("mean", "expected a weight of 0 or more, got \(weight)")
    }
    if let other = tensors.first(where: { !$0.dtype.isFloating }) {
      throw CommunicationError("mean", "expected floats, got \(other.dtype)")
    }
    if sums.isEmpty {
      types = tensors.map(\.dtype)
    } else if sums.map(\.shape) != tensors.map(\.shape) || types != tensors.map(\.dtype) {
      throw CommunicationError(
        "mean",
        "expected tensors of shapes \(sums.map(\.shape)), as in the last call, got "
          + "\(tensors.map(\.shape))")
    }
    try catchingTensorErrors {
      noAutodiff {
        let wide = tensors.map { $0.dtype == .float64 ? $0 : $0.cast(to: .float32) }
        let new =
          weight == 0
          ? wide.map { Tensor.zeros(like: $0, constant: true) } : wide.map { $0 * weight }
        sums = sums.isEmpty ? new : zip(sums, new).map { $0 + $1 }
        eval(sums)
      }
    }
    self.weight += weight
    calls += 1
    return calls < count ? nil : try rest()
  }

  /// The means of what has been added since the last ones; collective.
  ///
  /// - Returns: nil where nothing has been added since then, on any rank; each rank has to have made as many calls
  ///   as the others.
  public func rest() throws -> [Tensor]? {
    if sums.isEmpty { return nil }
    let means = try catchingTensorErrors {
      noAutodiff { weight == 0 ? sums : sums.map { $0 / weight } }
    }
    let results = try world.combine(
      means, "mean over \(calls) calls", weight: weight, order)
    let typed = zip(results, types).map { $0.dtype == $1 ? $0 : $0.cast(to: $1) }
    (sums, weight, calls) = ([], 0, 0)
    return typed
  }
}
