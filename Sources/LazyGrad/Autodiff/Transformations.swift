// Derivatives of functions: Jacobians, Hessians and products with them, made of backward passes alone. A pass is
// recorded, so it can be differentiated itself; no operation needs a rule beside the one that it has.

internal import LazyGradJIT

// MARK: - Jacobians

/// All first derivatives of a function of several tensors.
///
///     let parts = jacobian(at: [x, w]) { t in tanh(matmul(t[1], t[0])) }
///     // parts[0] of shape y.shape + x.shape, parts[1] of shape y.shape + w.shape
///
/// - Parameters:
///   - points: Where. The function is given tensors of the same values; the `grad` of `points` stays.
///   - createGraph: Whether the derivatives can be differentiated with respect to `points` again, so that
///     these functions nest.
///   - function: Called once. It must not use `points` themselves but what it is given: what it captures
///     counts as constant.
/// - Returns: For each point the derivative of every element of the result with respect to every element of
///   the point, of shape `result.shape + point.shape`. Of a point that is no float they are zeros.
/// - Complexity: records a pass over the function's graph for each element of the result, or, where there
///   are fewer, one pass over the graph of a pass for each element of the points.
public func jacobian(
  at points: [Tensor], createGraph: Bool = false, of function: ([Tensor]) -> Tensor
) -> [Tensor] {
  Transformation.run(points, createGraph) { inputs in
    let result = function(inputs.map(\.tracked))
    return Transformation.jacobian(of: result, inputs, createGraph)
  }
}

/// All first derivatives of a function of a tensor: of shape `result.shape + point.shape`.
///
///     jacobian(at: Tensor([1.0, 2])) { x in x * x.sum() }       // [[4, 1], [2, 5]]
///
/// As ``jacobian(at:createGraph:of:)-([Tensor],_,_)`` in everything else.
public func jacobian(
  at point: Tensor, createGraph: Bool = false, of function: (Tensor) -> Tensor
) -> Tensor {
  jacobian(at: [point], createGraph: createGraph) { function($0[0]) }[0]
}

/// The derivative of a function along a direction, J v, and the function's value: forward mode.
///
///     let (y, slope) = jvp(at: x, along: v) { x in exp(x).sum() }
///
/// It is made of two backward passes: the product of a covector with the Jacobian is linear in the covector,
/// and the derivative of that with respect to the covector, along v, is J v. What only the first pass would
/// have needed is never computed, so to compute it takes about as long as the function itself does, twice
/// or three times; to record it takes as long as two passes.
///
/// - Parameters:
///   - points: Where.
///   - directions: Along what: for each point a tensor that broadcasts to its shape.
///   - createGraph: Whether the derivative can be differentiated with respect to points and directions.
///   - function: As for `jacobian`. An operation by `Tensor.custom(inputs:forward:backward:)` in it is an
///     error: its derivative can't be differentiated.
/// - Returns: The value and the derivative, which has its shape.
public func jvp(
  at points: [Tensor], along directions: [Tensor], createGraph: Bool = false,
  of function: ([Tensor]) -> Tensor
) -> (value: Tensor, derivative: Tensor) {
  if let refusal = Transformation.refusal("jvp", points, directions) { return (refusal, refusal) }
  let both = Transformation.run(points, createGraph) { inputs in
    let value = function(inputs.map(\.tracked))
    if let refusal = Transformation.refusal("jvp", lostWay: value) { return [refusal, refusal] }
    if GraphReader.hasArrayRule(below: value, after: inputs) {
      let refusal = fail(
        "jvp",
        "expected operations whose gradients can be differentiated, got Tensor.custom, whose gradient is "
          + "computed on host arrays; Tensor.composite takes a rule in tensor operations", [value])
      return [refusal, refusal]
    }
    let covector = Tensor.zeros(value.shape, dtype: value.dtype)
    let products = gradients(
      of: (value * covector).sum(), withRespectTo: inputs, createGraph: true)
    return [
      value,
      Transformation.slopes(products, directions, withRespectTo: [covector], createGraph)[0],
    ]
  }
  return (both[0], both[1])
}

/// The derivative of a function of one tensor along a direction.
///
/// As ``jvp(at:along:createGraph:of:)-([Tensor],_,_,_)`` in everything else.
public func jvp(
  at point: Tensor, along direction: Tensor, createGraph: Bool = false,
  of function: (Tensor) -> Tensor
) -> (value: Tensor, derivative: Tensor) {
  jvp(at: [point], along: [direction], createGraph: createGraph) { function($0[0]) }
}

// MARK: - Hessians

/// All second derivatives of a function of a tensor whose result is one number: of shape
/// `point.shape + point.shape`.
///
///     hessian(at: Tensor([1.0, 2])) { x in (x * x * x).sum() }      // [[6, 0], [0, 12]]
///
/// - Parameters:
///   - point: Where.
///   - createGraph: Whether they can be differentiated with respect to `point` again.
///   - function: As for `jacobian`, with a result of one element.
/// - Complexity: records a pass over the graph of a pass for each element of `point`.
public func hessian(
  at point: Tensor, createGraph: Bool = false, of function: (Tensor) -> Tensor
) -> Tensor {
  Transformation.run([point], createGraph) { inputs in
    let value = function(inputs[0].tracked)
    if let refusal = Transformation.refusal("hessian", value) { return [refusal] }
    let slope = gradient(of: value, withRespectTo: inputs[0], createGraph: true)
    return [Transformation.rows(of: slope, inputs, createGraph)[0]]
  }[0]
}

/// The product of the second derivatives with directions, H v, without the second derivatives themselves: for
/// Newton's method by conjugate gradients, and curvature of large models.
///
///     let products = hessianVectorProduct(at: weights, along: steps) { w in loss(w) }
///
/// - Parameters:
///   - points: Where.
///   - directions: For each point a tensor that broadcasts to its shape.
///   - createGraph: Whether the products can be differentiated again.
///   - function: As for `jacobian`, with a result of one element.
/// - Returns: For each point a tensor of its shape.
/// - Complexity: records two backward passes.
public func hessianVectorProduct(
  at points: [Tensor], along directions: [Tensor], createGraph: Bool = false,
  of function: ([Tensor]) -> Tensor
) -> [Tensor] {
  if let refusal = Transformation.refusal("hessianVectorProduct", points, directions) {
    return points.map { _ in refusal }
  }
  return Transformation.run(points, createGraph) { inputs in
    let value = function(inputs.map(\.tracked))
    if let refusal = Transformation.refusal("hessianVectorProduct", value) {
      return points.map { _ in refusal }
    }
    let slopes = gradients(of: value, withRespectTo: inputs, createGraph: true)
    return Transformation.slopes(slopes, directions, withRespectTo: inputs, createGraph)
  }
}

/// The product of the second derivatives with a direction, for a function of one tensor.
///
/// As ``hessianVectorProduct(at:along:createGraph:of:)-([Tensor],_,_,_)`` in everything else.
public func hessianVectorProduct(
  at point: Tensor, along direction: Tensor, createGraph: Bool = false,
  of function: (Tensor) -> Tensor
) -> Tensor {
  hessianVectorProduct(at: [point], along: [direction], createGraph: createGraph) {
    function($0[0])
  }[0]
}

// MARK: - What they share

private enum Transformation {
  /// Runs `body` with autodiff on, also inside `noAutodiff`, on tensors that stand for the points.
  static func run(
    _ points: [Tensor], _ createGraph: Bool, _ body: ([Tensor]) -> [Tensor]
  ) -> [Tensor] {
    let results = Scope.with({ $0.isTracking = true }) {
      body(points.map { createGraph ? $0.tracked : $0.independent })
    }
    // What does not depend on the points is a value of the function's own.
    return createGraph ? results : results.map { $0.isConstant ? $0 : $0.asGradient }
  }

  /// The rows of the Jacobian of a result; or its columns, where these are fewer.
  static func jacobian(
    of result: Tensor, _ inputs: [Tensor], _ createGraph: Bool
  ) -> [Tensor] {
    if let refusal = refusal("jacobian", lostWay: result) { return inputs.map { _ in refusal } }
    let width = inputs.reduce(0) { $0 + $1.count }
    if result.count <= width { return rows(of: result, inputs, createGraph) }
    let covector = Tensor.zeros(result.shape, dtype: result.dtype)
    let products = gradients(
      of: (result * covector).sum(), withRespectTo: inputs, createGraph: true)
    return zip(inputs, products).map { input, product in
      let all = rows(of: product, [covector], createGraph)[0].reshaped([input.count, result.count])
      return all.transposed().reshaped(result.shape + input.shape)
    }
  }

  /// The derivatives of every element, one pass for each.
  static func rows(of result: Tensor, _ inputs: [Tensor], _ createGraph: Bool) -> [Tensor] {
    if result.poison != nil { return inputs.map { _ in result } }
    let shapes = inputs.map { result.shape + $0.shape }
    let flat = result.reshaped([result.count])
    if flat.count == 0 {
      return zip(inputs, shapes).map { Tensor.zeros($1, dtype: $0.dtype, constant: true) }
    }
    let passes = (0..<flat.count).map {
      gradients(of: flat[$0], withRespectTo: inputs, createGraph: createGraph)
    }
    return inputs.indices.map { k in stack(passes.map { $0[k] }).reshaped(shapes[k]) }
  }

  /// The gradients of the sum of the products of tensors with directions.
  static func slopes(
    _ tensors: [Tensor], _ directions: [Tensor], withRespectTo inputs: [Tensor],
    _ createGraph: Bool
  ) -> [Tensor] {
    // Where the tensors are constants the directions, which may be gradients, have no say.
    let parts = zip(tensors, directions).filter { !$0.0.isConstant }
    guard !parts.isEmpty else {
      return inputs.map { Tensor.zeros($0.shape, dtype: $0.dtype, constant: true) }
    }
    return gradients(
      of: addSequence(parts.map { ($0 * $1).sum() }), withRespectTo: inputs,
      createGraph: createGraph)
  }

  /// A result that is poisoned, or computed from gradients that don't know what they depend on: 0 would be
  /// wrong.
  static func refusal(_ name: String, lostWay result: Tensor) -> Tensor? {
    if result.poison != nil { return result }
    return result.isConstant && result.slot.isGradient
      ? fail(name, InvalidBackprop.plainGradient.description, [result]) : nil
  }

  static func refusal(
    _ name: String, _ points: [Tensor], _ directions: [Tensor]
  ) -> Tensor? {
    if points.count != directions.count || points.isEmpty {
      return fail(
        name, "expected a direction for each point, got \(directions.count) for \(points.count)",
        points + directions)
    }
    for (point, direction) in zip(points, directions)
    where point.poison == nil && direction.poison == nil
      && Layout.broadcast(point.shape, direction.shape) != point.shape
    {
      return fail(
        name,
        "expected a direction that broadcasts to shape \(point.shape), got shape \(direction.shape)",
        [point, direction])
    }
    return nil
  }

  static func refusal(_ name: String, _ value: Tensor) -> Tensor? {
    if value.poison != nil { return value }
    return value.count == 1
      ? nil : fail(name, "expected a result of one element, got shape \(value.shape)", [value])
  }
}

extension Tensor {
  /// A variable of the same value that no graph leads to, whose own graph leads nowhere else.
  var independent: Tensor {
    if poison != nil { return self }
    return Tensor(dtype.isFloating ? Tape.variable(slot) : Tape.constant(slot))
  }

  /// A variable of the same value, through which gradients flow on to this tensor: an update of it in place
  /// leaves this one as it is, and it is no new use.
  var tracked: Tensor {
    if isConstant || poison != nil { return independent }
    return Tensor.prepared(self) {
      Tensor(Tape.view(slot, mode: $0, layout: shapeID))
    }
  }

  /// The same value, which is known to have depended on variables: to differentiate it is an error, and not 0.
  fileprivate var asGradient: Tensor { poison != nil ? self : Tensor(Tape.gradient(slot)) }
}

extension GraphReader {
  /// Whether what leads from some tensors to another has a derivative on host arrays. All of that was recorded
  /// after them.
  fileprivate static func hasArrayRule(below tensor: Tensor, after points: [Tensor]) -> Bool {
    let tape = Tape.hold(all: (points + [tensor]).map(\.slot))
    return tape.withSettled {
      guard let head = tensor.slot.node else { return false }
      let first = points.reduce(head) { min($0, tape.record(of: $1.slot)) }
      var work = [head]
      var seen = Set(work)
      while let id = work.popLast() {
        let record = tape[id]
        if !record.traits.contains(.variable) { continue }
        if record.opcode == .attach, Composite.of(record) === Composite.custom,
          CustomRule.of(tape, id).isOnArrays
        {
          return true
        }
        var operands = [tape.a(id), tape.b(id), tape.c(id)].filter { $0 != id }
        if let source = tape.importedNode(id) { operands.append(source) }
        for operand in operands where operand > first && seen.insert(operand).inserted {
          work.append(operand)
        }
      }
      return false
    }
  }
}
