// L-BFGS: the direction of a step from the gradients of those before, and how far to go. The line search is in
// LineSearch.swift.

/// The limited-memory method of Broyden, Fletcher, Goldfarb and Shanno (Nocedal and Wright, Numerical Optimization,
/// 2006, algorithm 7.5): for smooth losses without chance in them, of which it needs few evaluations.
///
///     let optimizer = LBFGS(model, lineSearch: .strongWolfe)
///     for _ in 0..<10 { optimizer.step { loss(model) } }
///
/// A step makes several iterations, and calls the loss for each at least once. Iterations, limits and
/// tolerances are those of PyTorch's `LBFGS`; so is the first step's length, the rate over the sum of the
/// gradient's magnitudes, if that is more than 1.
///
/// Each evaluation of the loss is one plan, which is the same every time. A direction is another, made
/// anew whenever the history has doubled.
public final class LBFGS: Optimizer {
  /// How the length of a step is found.
  public enum LineSearch: Sendable {
    /// So that loss and slope have become small enough: the strong conditions of Wolfe.
    case strongWolfe
  }

  /// The tensors that are trained, by name.
  public let namedParameters: [NamedTensor]
  /// The length of steps where there is no line search, and the first that a line search tries.
  public var rate: Double
  /// How many steps have been made.
  public private(set) var stepCount = 0
  /// How many iterations all steps have made.
  public private(set) var iterationCount = 0
  /// How often all steps have computed the loss.
  public private(set) var evaluationCount = 0
  /// How many changes of parameters and gradients are kept.
  public let history: Int
  /// How many iterations a step makes at most.
  public let iterations: Int
  /// After how many evaluations of the loss a step begins no other iteration.
  public let evaluations: Int
  /// A step ends where no element of the gradient is greater.
  public let gradientTolerance: Double
  /// A step ends where no parameter and not the loss changes by more.
  public let changeTolerance: Double
  /// How the length of a step is found; nil: it is the rate.
  public let lineSearch: LineSearch?

  private let constants: [Tensor]
  /// What the iterations so far have left; nil before the first.
  private var memory: Memory?

  /// What an iteration leaves for the next.
  private struct Memory {
    /// The direction that was gone, and how far.
    var direction: Tensor
    var length: Double
    /// The gradient before that.
    var gradient: Tensor
    /// What stands for the inverse of the second derivatives before the pairs are told.
    var scale = 1.0
    /// Changes of parameters and gradients, oldest first. Zeros, which do nothing, fill up a power of two: so that
    /// not every number of pairs has a plan of its own.
    var pairs: [Pair] = []
  }

  private struct Pair {
    /// The change of the parameters.
    var step: Tensor
    /// The change of the gradient.
    var change: Tensor
    /// One over their product; 0 for zeros.
    var weight: Double
  }

  /// An optimiser for the variables of a model.
  ///
  /// - Parameters:
  ///   - model: What is trained.
  ///   - rate: The length of steps, or the first that a line search tries.
  ///   - iterations: How many a step makes at most.
  ///   - evaluations: After how many of the loss a step begins no other iteration; nil: five quarters of the
  ///     iterations.
  ///   - gradientTolerance: A step ends where no element of the gradient is greater.
  ///   - changeTolerance: A step ends where no parameter and not the loss changes by more.
  ///   - history: How many changes are kept.
  ///   - lineSearch: How the length of a step is found; nil: it is the rate.
  public init(
    _ model: some Parameterized, rate: Double = 1, iterations: Int = 20, evaluations: Int? = nil,
    gradientTolerance: Double = 1e-7, changeTolerance: Double = 1e-9, history: Int = 100,
    lineSearch: LineSearch? = nil
  ) {
    (namedParameters, _, constants) = trained(model, keeps: [])
    self.rate = rate
    self.iterations = iterations
    self.evaluations = evaluations ?? iterations * 5 / 4
    self.history = history
    (self.gradientTolerance, self.changeTolerance) = (gradientTolerance, changeTolerance)
    self.lineSearch = lineSearch
    if namedParameters.isEmpty {
      _ = Tensor.failure("LBFGS", "expected a model with variables, got none")
    }
    if history < 1 || iterations < 1 {
      _ = Tensor.failure(
        "LBFGS", "expected a history and iterations of 1 or more, got \(history), \(iterations)")
    }
  }

  // MARK: A step

  /// Makes one step of several iterations.
  ///
  /// - Parameter loss: Computes the loss, a scalar; called for every evaluation.
  /// - Returns: The loss before the step.
  @discardableResult
  public func step(_ loss: () -> Tensor) -> Tensor {
    let (value, first) = evaluate(loss)
    guard var point = first else { return value }
    stepCount += 1
    var calls = 1
    for iteration in 1... {
      if point.steepest <= gradientTolerance { break }
      let before = point
      let (direction, slope, reach) = nextDirection(point)
      let length = memory!.length
      if slope > -changeTolerance { break }
      let start = noAutodiff { namedParameters.map { +$0.tensor } }
      eval(start)
      /// The loss at a distance, and its slope there; nil where it can't be computed.
      func look(at length: Double) -> LineSearchPoint<Point>? {
        move(from: start, by: length, direction)
        calls += 1
        guard let point = evaluate(loss).point else { return nil }
        let slope = noAutodiff { (point.gradient * direction).sum() }.item()
        return LineSearchPoint(length: length, loss: point.loss, slope: slope, rest: point)
      }
      if lineSearch != nil {
        let here = LineSearchPoint(length: 0, loss: point.loss, slope: slope, rest: point)
        guard
          let found = strongWolfe(
            from: here, first: length, reach: reach, tolerance: changeTolerance, look)
        else {
          move(from: start, by: 0, direction)
          return value
        }
        move(from: start, by: found.length, direction)
        memory!.length = found.length
        point = found.rest
      } else {
        move(from: start, by: length, direction)
        if iteration < iterations {
          calls += 1
          guard let next = evaluate(loss).point else {
            move(from: start, by: 0, direction)
            return value
          }
          point = next
        }
      }
      if iteration == iterations || calls >= evaluations
        || reach * memory!.length <= changeTolerance
        || Swift.abs(point.loss - before.loss) < changeTolerance
      {
        break
      }
    }
    return value
  }

  /// The loss and its gradient somewhere.
  private struct Point {
    var loss: Double
    /// Of all parameters one behind the other.
    var gradient: Tensor
    /// The greatest magnitude of an element of the gradient.
    var steepest: Double
  }

  /// Computes the loss and its gradient; nil where that can't be done, which is reported.
  private func evaluate(_ loss: () -> Tensor) -> (loss: Tensor, point: Point?) {
    evaluationCount += 1
    let value = loss()
    if value.isPoisoned { return (value, nil) }
    if value.count != 1 {
      let message = "expected a loss of one element, got shape \(value.shape)"
      return (.failure("LBFGS", message, operands: [value]), nil)
    }
    value.backward()
    guard let gradients = gradientsLeft(by: "LBFGS", namedParameters) else { return (value, nil) }
    let (gradient, steepest) = noAutodiff {
      let gradient = concatenate(gradients.map { $0.flattened() })
      return (gradient, abs(gradient).max())
    }
    eval([value, gradient, steepest] + constants)
    return (value, Point(loss: value.item(), gradient: gradient, steepest: steepest.item()))
  }

  /// The parameters that are some way from others in a direction.
  private func move(from start: [Tensor], by length: Double, _ direction: Tensor) {
    noAutodiff {
      var first = 0
      for ((_, parameter), start) in zip(namedParameters, start) {
        let part = direction[first..<first + parameter.count].reshaped(parameter.shape)
        parameter.assign(start + length * part)
        first += parameter.count
      }
    }
    eval(namedParameters.map(\.tensor))
  }

  // MARK: Directions

  /// Notes what the last iteration has changed, and finds where to go next and how far to try.
  ///
  /// - Returns: The direction, the slope of the loss along it, and its greatest magnitude.
  private func nextDirection(_ point: Point) -> (direction: Tensor, slope: Double, reach: Double) {
    let gradient = point.gradient
    var next: Memory
    if let memory {
      next = memory
      remember(gradient, &next)
      next.length = rate
    } else {
      let sum = noAutodiff { abs(gradient).sum() }.item()
      next = Memory(
        direction: gradient, length: Swift.min(1, 1 / sum) * rate, gradient: gradient)
    }
    iterationCount += 1
    let (direction, slope, reach) = noAutodiff {
      let direction = towardsMinimum(gradient, next)
      return (direction, (gradient * direction).sum(), abs(direction).max())
    }
    eval(direction, slope, reach)
    (next.direction, next.gradient) = (direction, gradient)
    memory = next
    return (direction, slope.item(), reach.item())
  }

  /// Takes the change since the last iteration into the pairs, if the loss is curved upwards along it.
  private func remember(_ gradient: Tensor, _ memory: inout Memory) {
    let (step, change, product, square) = noAutodiff {
      let step = memory.direction * memory.length
      let change = gradient - memory.gradient
      return (step, change, (change * step).sum(), (change * change).sum())
    }
    eval(step, change, product, square)
    let curvature = product.item()
    if !(curvature > 1e-10) { return }
    // The oldest goes, which is zeros if there have been fewer than there is room for.
    if memory.pairs.first.map({ $0.weight != 0 }) ?? true, memory.pairs.count < history {
      let room = Swift.min(Swift.max(2 * memory.pairs.count, 1), history)
      let none = (memory.pairs.count..<room).map { _ in
        Pair(
          step: .zeros(like: step, constant: true), change: .zeros(like: step, constant: true),
          weight: 0)
      }
      eval(none.flatMap { [$0.step, $0.change] })
      memory.pairs = none + memory.pairs
    }
    memory.pairs.removeFirst()
    memory.pairs.append(Pair(step: step, change: change, weight: 1 / curvature))
    memory.scale = curvature / square.item()
  }

  /// Minus the gradient times what the pairs say of the inverse of the second derivatives: the two loops of
  /// algorithm 7.4.
  private func towardsMinimum(_ gradient: Tensor, _ memory: Memory) -> Tensor {
    var result = -gradient
    var parts: [Tensor] = []
    for pair in memory.pairs.reversed() {
      let part = (pair.step * result).sum() * pair.weight
      result = result - part * pair.change
      parts.append(part)
    }
    result = result * memory.scale
    for (pair, part) in zip(memory.pairs, parts.reversed()) {
      let other = (pair.change * result).sum() * pair.weight
      result = result + (part - other) * pair.step
    }
    return result
  }

  // MARK: State

  /// The number of steps; counts, lengths and weights as `numbers`, the last `direction` and `gradient`, and
  /// the pairs of changes as rows of `steps` and `changes`.
  public var state: OptimizerState {
    var numbers = [Double(iterationCount), Double(evaluationCount)]
    var arrays: [String: Tensor] = [:]
    if let memory {
      let pairs = memory.pairs.filter { $0.weight != 0 }
      numbers += [memory.length, memory.scale] + pairs.map(\.weight)
      arrays = ["direction": memory.direction, "gradient": memory.gradient]
      if !pairs.isEmpty {
        noAutodiff {
          arrays["steps"] = stack(pairs.map(\.step))
          arrays["changes"] = stack(pairs.map(\.change))
        }
      }
    }
    arrays["numbers"] = Tensor(numbers, constant: true)
    return OptimizerState(stepCount: stepCount, arrays: arrays.snapshots)
  }

  /// Goes on where another optimiser of the same kind was.
  public func load(_ state: OptimizerState) throws(ParameterError) {
    let numbers = state.arrays["numbers"].map { Tensor(sharing: $0) }
    let count = numbers?.count ?? 0
    let length = namedParameters.reduce(0) { $0 + $1.tensor.count }
    var shapes = ["numbers": [count == 2 ? 2 : Swift.max(count, 4)]]
    if count != 2 { (shapes["direction"], shapes["gradient"]) = ([length], [length]) }
    if count > 4 {
      (shapes["steps"], shapes["changes"]) = ([count - 4, length], [count - 4, length])
    }
    try state.check(shapes)
    let values = numbers?.elements ?? []
    let counts = values.prefix(2).map { Int(exactly: $0) ?? -1 }
    if let wrong = counts.firstIndex(where: { $0 < 0 }) {
      throw ParameterError("numbers", expected: "a count", got: "\(values[wrong])")
    }
    let type = concatenate(namedParameters.map { $0.tensor.flattened() }).dtype
    /// A copy in the type that gradients have.
    func tensor(_ name: String) -> Tensor? {
      state.arrays[name].map { Tensor(Tensor(sharing: $0).array, dtype: type, constant: true) }
    }
    stepCount = state.stepCount
    (iterationCount, evaluationCount) = (counts[0], counts[1])
    memory = nil
    guard let direction = tensor("direction"), let gradient = tensor("gradient") else { return }
    var memory = Memory(direction: direction, length: values[2], gradient: gradient)
    memory.scale = values[3]
    if let steps = tensor("steps"), let changes = tensor("changes") {
      for (i, weight) in values.dropFirst(4).enumerated().suffix(history) {
        let (step, change) = noAutodiff { (+steps[i], +changes[i]) }
        memory.pairs.append(Pair(step: step, change: change, weight: weight))
      }
    }
    eval(memory.pairs.flatMap { [$0.step, $0.change] })
    self.memory = memory
  }
}
