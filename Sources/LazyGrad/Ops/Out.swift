// The forms of operations that store their result in a tensor that exists: MyGrad's `out=`. They are
// in-place updates of that tensor, which keeps its object, shape, type and constness, and whose views
// see the result.

/// `exp(x)`, stored in `out`.
@discardableResult
public func exp(_ x: Tensor, out: Tensor) -> Tensor {
  out.store("exp") { exp(x) }
}
/// `expm1(x)`, stored in `out`.
@discardableResult
public func expm1(_ x: Tensor, out: Tensor) -> Tensor {
  out.store("expm1") { expm1(x) }
}
/// `log(x)`, stored in `out`.
@discardableResult
public func log(_ x: Tensor, out: Tensor) -> Tensor {
  out.store("log") { log(x) }
}
/// `log1p(x)`, stored in `out`.
@discardableResult
public func log1p(_ x: Tensor, out: Tensor) -> Tensor {
  out.store("log1p") { log1p(x) }
}
/// `sin(x)`, stored in `out`.
@discardableResult
public func sin(_ x: Tensor, out: Tensor) -> Tensor {
  out.store("sin") { sin(x) }
}
/// `cos(x)`, stored in `out`.
@discardableResult
public func cos(_ x: Tensor, out: Tensor) -> Tensor {
  out.store("cos") { cos(x) }
}
/// `tanh(x)`, stored in `out`.
@discardableResult
public func tanh(_ x: Tensor, out: Tensor) -> Tensor {
  out.store("tanh") { tanh(x) }
}
/// `sqrt(x)`, stored in `out`.
@discardableResult
public func sqrt(_ x: Tensor, out: Tensor) -> Tensor {
  out.store("sqrt") { sqrt(x) }
}
/// `square(x)`, stored in `out`.
@discardableResult
public func square(_ x: Tensor, out: Tensor) -> Tensor { out.store("square") { square(x) } }
/// `reciprocal(x)`, stored in `out`.
@discardableResult
public func reciprocal(_ x: Tensor, out: Tensor) -> Tensor {
  out.store("reciprocal") { reciprocal(x) }
}
/// `abs(x)`, stored in `out`.
@discardableResult
public func abs(_ x: Tensor, out: Tensor) -> Tensor { out.store("abs") { abs(x) } }
/// `-x`, stored in `out`.
@discardableResult
public func negative(_ x: Tensor, out: Tensor) -> Tensor { out.store("negative") { -x } }
/// `+x`, stored in `out`.
@discardableResult
public func positive(_ x: Tensor, out: Tensor) -> Tensor { out.store("positive") { +x } }
/// `a + b`, stored in `out`.
@discardableResult
public func add(_ a: Tensor, _ b: Tensor, out: Tensor) -> Tensor {
  out.store("add") { a + b }
}
/// `a - b`, stored in `out`.
@discardableResult
public func subtract(_ a: Tensor, _ b: Tensor, out: Tensor) -> Tensor {
  out.store("subtract") { a - b }
}
/// `a * b`, stored in `out`.
@discardableResult
public func multiply(_ a: Tensor, _ b: Tensor, out: Tensor) -> Tensor {
  out.store("multiply") { a * b }
}
/// `a / b`, stored in `out`.
@discardableResult
public func divide(_ a: Tensor, _ b: Tensor, out: Tensor) -> Tensor {
  out.store("divide") { a / b }
}
/// `a ** b`, stored in `out`.
@discardableResult
public func power(_ a: Tensor, _ b: Tensor, out: Tensor) -> Tensor {
  out.store("power") { a ** b }
}
/// `maximum(a, b)`, stored in `out`.
@discardableResult
public func maximum(_ a: Tensor, _ b: Tensor, out: Tensor) -> Tensor {
  out.store("maximum") { maximum(a, b) }
}
/// `minimum(a, b)`, stored in `out`.
@discardableResult
public func minimum(_ a: Tensor, _ b: Tensor, out: Tensor) -> Tensor {
  out.store("minimum") { minimum(a, b) }
}
/// `matmul(a, b)`, stored in `out`.
@discardableResult
public func matmul(_ a: Tensor, _ b: Tensor, out: Tensor) -> Tensor {
  out.store("matmul", mustFill: true) { matmul(a, b) }
}
/// `concatenate(tensors, axis: axis)`, stored in `out`.
@discardableResult
public func concatenate(_ tensors: [Tensor], axis: Int = 0, out: Tensor) -> Tensor {
  out.store("concatenate", mustFill: true) { concatenate(tensors, axis: axis) }
}
/// `stack(tensors, axis: axis)`, stored in `out`.
@discardableResult
public func stack(_ tensors: [Tensor], axis: Int = 0, out: Tensor) -> Tensor {
  out.store("stack", mustFill: true) { stack(tensors, axis: axis) }
}

extension Tensor {
  /// `clip(lower, upper)`, stored in `out`.
  @discardableResult
  public func clip(_ lower: Double?, _ upper: Double?, out: Tensor) -> Tensor {
    out.store("clip") { clip(lower, upper) }
  }

  /// Stores a result, which must have exactly this tensor's shape or else broadcast to it.
  ///
  /// It is recorded twice, the first time without autodiff and never run: that tells shape and type, and
  /// what doesn't fit is refused with the operands' gradients still there.
  fileprivate func store(
    _ operation: String, mustFill: Bool = false, _ result: () -> Tensor
  ) -> Tensor {
    if let poison = poisoned(self) { return poison }
    let trial = noAutodiff(result)
    if let poison = poisoned(trial) { return poison }
    if mustFill, trial.shape != shape {
      return fail(
        operation, "a result of shape \(trial.shape) does not fit out: of shape \(shape)", [self])
    }
    if !canBeUpdated(operation, shape: trial.shape) || !canHold(trial.dtype, operation) {
      return self
    }
    update(result())
    return self
  }
}
