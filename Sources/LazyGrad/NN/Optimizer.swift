// What optimisers share: which tensors they train, how a step runs as one plan, how their state is saved.

/// Changes the parameters of a model so that a loss becomes smaller.
///
///     let optimizer = Adam(model, rate: 0.001)
///     for batch in batches {
///       let loss = optimizer.step { softmaxCrossEntropy(model(batch.x, training: true), batch.y) }
///     }
///
/// The learning rate is a property that may change before every step: see `LearningRate`. To train parts of a
/// model in different ways, make an optimiser for each part.
public protocol Optimizer: AnyObject {
  /// The tensors that are trained, by name.
  var namedParameters: [NamedTensor] { get }
  /// The learning rate of the next step.
  var rate: Double { get set }
  /// How many steps have been made.
  var stepCount: Int { get }
  /// What the optimiser knows beside the parameters.
  var state: OptimizerState { get }

  /// Makes one step: computes the loss and its gradients, and changes the parameters in place.
  ///
  /// - Parameter loss: Computes the loss, a scalar, by the parameters as they are. L-BFGS calls it several
  ///   times, the others once.
  /// - Returns: The loss before the step.
  @discardableResult
  func step(_ loss: () -> Tensor) -> Tensor

  /// Goes on where another optimiser of the same kind was.
  ///
  /// - Throws: `ParameterError` where the state is that of other parameters or of another kind of optimiser;
  ///   nothing is changed then.
  func load(_ state: OptimizerState) throws(ParameterError)
}

/// What an optimiser knows beside the parameters, as a value that any file can hold: arrays with names and a
/// number.
public struct OptimizerState: Sendable, Equatable, Codable {
  /// How many steps have been made.
  public var stepCount: Int
  /// The arrays: for each parameter those that the optimiser keeps for it, such as
  /// `hidden.weight.momentum`.
  public var arrays: [String: TensorSnapshot]

  /// A state of a number of steps and arrays.
  public init(stepCount: Int, arrays: [String: TensorSnapshot]) {
    self.stepCount = stepCount
    self.arrays = arrays
  }
}

extension OptimizerState {
  /// Whether this has the arrays of an optimiser, in their shapes, and a number of steps that can be.
  func check(_ shapes: [String: [Int]]) throws(ParameterError) {
    if !(0...1 << 53).contains(stepCount) {
      throw ParameterError("stepCount", expected: "0 or more", got: "\(stepCount)")
    }
    let error = ParameterError(
      missing: shapes.keys.filter { arrays[$0] == nil }.sorted(),
      unexpected: arrays.keys.filter { shapes[$0] == nil }.sorted(),
      mismatches: shapes.sorted { $0.key < $1.key }.compactMap { name, shape in
        guard let array = arrays[name], array.shape != shape else { return nil }
        return .init(name: name, expected: "\(shape)", got: "\(array.shape)")
      })
    if !error.isEmpty { throw error }
  }
}

/// Limits gradients before a step.
public enum GradientClipping: Sendable {
  /// Every element is brought between minus a number and that number.
  case value(Double)
  /// All gradients are multiplied by one factor, so that their common length is at most a number.
  case norm(Double)
}

/// An optimiser that makes a step out of one gradient: `SGD`, `Adam`, `AdamW`, `RMSProp`, `Adagrad`,
/// `Adadelta`.
///
/// A step is recorded without autodiff and run at once: with whatever of the forward and backward pass has
/// not been run, it is one plan. That plan is the same for every step, also where the learning rate changes,
/// because numbers are no part of plans. The parameters stay the objects that they are.
public class GradientOptimizer: Optimizer {
  /// The tensors that are trained, by name.
  public let namedParameters: [NamedTensor]
  /// The learning rate of the next step.
  public var rate: Double
  /// How many steps have been made.
  public private(set) var stepCount = 0
  /// The arrays that are kept for each parameter, by what they are.
  private let kept: [(name: String, arrays: [Tensor])]
  /// The constants of the model, which may have changed as well: running statistics.
  private let constants: [Tensor]

  init(_ model: some Parameterized, _ rate: Double, keeps names: [String]) {
    let (parameters, kept, constants) = trained(model, keeps: names)
    (namedParameters, self.kept, self.constants) = (parameters, kept, constants)
    self.rate = rate
    if parameters.isEmpty {
      _ = Tensor.failure("\(Self.self)", "expected a model with variables, got none")
    }
  }

  /// The new value of a parameter; the arrays that are kept for it are updated in place.
  func update(_ parameter: Tensor, _ gradient: Tensor, _ kept: (Int) -> Tensor) -> Tensor {
    parameter
  }

  /// Makes one step by the gradients that `backward()` has left.
  ///
  /// A parameter without a gradient is an error, with its name and the reason: nothing is changed then. To
  /// train a part of a model make an optimiser for that part; where a branch is left out now and then,
  /// give the gradients that `gradients(of:withRespectTo:)` returns, which are zeros there.
  ///
  /// - Parameter clipping: What limits the gradients before; nil: nothing.
  /// - Complexity: records some operations for each parameter and runs them, with what they depend on, as
  ///   one plan.
  public func step(clipping: GradientClipping? = nil) {
    if let gradients = gradientsLeft(by: "\(Self.self)", namedParameters) {
      step(gradients, clipping, with: [])
    }
  }

  /// Makes one step by gradients that are given, one for each of `namedParameters`, in their order.
  ///
  ///     optimizer.step(gradients(of: loss, withRespectTo: model.parameters))
  public func step(_ gradients: [Tensor], clipping: GradientClipping? = nil) {
    step(gradients, clipping, with: [])
  }

  /// Makes one step; its plan computes some tensors more.
  private func step(_ gradients: [Tensor], _ clipping: GradientClipping?, with others: [Tensor]) {
    // The error is known to the scope that throws it.
    if gradients.contains(where: \.isPoisoned) { return }
    if gradients.count != namedParameters.count {
      _ = Tensor.failure(
        "\(Self.self)",
        "expected a gradient for each of \(namedParameters.count) parameters, got \(gradients.count)"
      )
      return
    }
    for ((name, parameter), gradient) in zip(namedParameters, gradients)
    where parameter.shape != gradient.shape {
      _ = Tensor.failure(
        "\(Self.self)",
        "expected a gradient of shape \(parameter.shape) for '\(name)', got \(gradient.shape)",
        operands: [parameter, gradient])
      return
    }
    let gradients =
      clipping.map { limit in noAutodiff { clipped(gradients, by: limit) } } ?? gradients
    if gradients.contains(where: \.isPoisoned) { return }
    stepCount += 1
    noAutodiff {
      for (i, (parameter, gradient)) in zip(namedParameters.map(\.tensor), gradients).enumerated() {
        parameter.assign(update(parameter, gradient) { kept[$0].arrays[i] })
      }
    }
    eval(others + namedParameters.map(\.tensor) + kept.flatMap(\.arrays) + constants)
  }

  /// Computes the loss, its gradients, and makes one step.
  ///
  /// - Returns: The loss before the step, computed in the step's plan.
  @discardableResult
  public func step(_ loss: () -> Tensor) -> Tensor { step(clipping: nil, loss) }

  /// Computes the loss, its gradients, limits these, and makes one step.
  ///
  /// - Returns: The loss before the step, computed in the step's plan.
  @discardableResult
  public func step(clipping: GradientClipping?, _ loss: () -> Tensor) -> Tensor {
    let value = loss()
    value.backward()
    if let gradients = gradientsLeft(by: "\(Self.self)", namedParameters) {
      step(gradients, clipping, with: [value])
    }
    return value
  }

  /// The number of steps, and the arrays that are kept for each parameter.
  public var state: OptimizerState {
    OptimizerState(stepCount: stepCount, arrays: keptByName.snapshots)
  }

  /// Goes on where another optimiser of the same kind was.
  public func load(_ state: OptimizerState) throws(ParameterError) {
    try state.check(keptByName.mapValues(\.shape))
    try keptByName.load(state.arrays)
    stepCount = state.stepCount
  }

  private var keptByName: [String: Tensor] {
    kept.reduce(into: [:]) { result, entry in
      for ((name, _), array) in zip(namedParameters, entry.arrays) {
        result["\(name).\(entry.name)"] = array
      }
    }
  }
}

/// The variables of a model, zeros in their shapes for each name, and the model's constants. All are evaluated:
/// so the first step has the same plan as the others.
func trained(
  _ model: some Parameterized, keeps names: [String]
) -> ([NamedTensor], [(name: String, arrays: [Tensor])], [Tensor]) {
  let parameters = model.namedParameters
  let kept = names.map { name in
    (name: name, arrays: parameters.map { Tensor.zeros(like: $0.tensor, constant: true) })
  }
  var known: Set<ObjectIdentifier> = []
  let constants = model.namedTensors.map(\.tensor)
    .filter { $0.isConstant && known.insert(ObjectIdentifier($0)).inserted }
  eval(parameters.map(\.tensor) + kept.flatMap(\.arrays) + constants)
  return (parameters, kept, constants)
}

/// The gradients that a backward pass has left; nil where some are missing, which is reported with their names
/// and the reason, or can't be read.
func gradientsLeft(by optimizer: String, _ parameters: [NamedTensor]) -> [Tensor]? {
  let gradients = parameters.map(\.tensor.grad)
  let missing = zip(parameters, gradients).filter { $1 == nil }.map(\.0)
  if let first = missing.first {
    let names = missing.map { "'\($0.name)'" }.joined(separator: ", ")
    _ = Tensor.failure(
      optimizer,
      "expected a gradient for every parameter, got none for \(names): \(whyNone(first.tensor))",
      operands: [first.tensor])
    return nil
  }
  let found = gradients.compactMap { $0 }
  return found.contains(where: \.isPoisoned) ? nil : found
}

/// Why a tensor has no gradient.
private func whyNone(_ parameter: Tensor) -> String {
  do {
    try catchingTensorErrors { _ = parameter.gradient }
    return ""
  } catch { return (error as? TensorError)?.message ?? "\(error)" }
}

// MARK: - Clipping

/// Gradients within a limit, as new tensors.
///
/// - Complexity: records; of a norm all gradients are read before the first is known.
public func clipped(_ gradients: [Tensor], by clipping: GradientClipping) -> [Tensor] {
  switch clipping {
  case .value(let limit):
    if !(limit >= 0) {
      return gradients.map { _ in
        .failure("clipped", "expected a limit of 0 or more, got \(limit)", operands: gradients)
      }
    }
    return gradients.map { $0.clip(-limit, limit) }
  case .norm(let limit):
    if !(limit >= 0) {
      return gradients.map { _ in
        .failure("clipped", "expected a norm of 0 or more, got \(limit)", operands: gradients)
      }
    }
    if gradients.isEmpty { return [] }
    // As PyTorch's clip_grad_norm_: the small number keeps it finite where all are zero.
    let factor = minimum(limit / (gradientNorm(gradients) + 1e-6), 1.0)
    return gradients.map { $0 * factor.cast(to: $0.dtype) }
  }
}

/// The common length of gradients: the root of the sum of all squares.
///
/// - Complexity: records a reduction for each.
public func gradientNorm(_ gradients: [Tensor]) -> Tensor {
  if gradients.isEmpty { return Tensor(0.0, constant: true) }
  return sqrt(addSequence(gradients.map { square($0).sum() }))
}
