// The forms of operations that store their result in a tensor or an array that exists: MyGrad's `out=`, and
// where a mask holds only: `where=`.
// What that means is said, and done, in TensorOutput.swift.

/// `exp(x)`, stored in `out` where `mask` holds, or everywhere.
@discardableResult
public func exp(
  _ x: Tensor, where mask: Tensor? = nil, out: some TensorOutput
) -> Tensor {
  out._store("exp", [x], where: mask) { exp($0[0]) }
}
/// `expm1(x)`, stored in `out` where `mask` holds, or everywhere.
@discardableResult
public func expm1(
  _ x: Tensor, where mask: Tensor? = nil, out: some TensorOutput
) -> Tensor {
  out._store("expm1", [x], where: mask) { expm1($0[0]) }
}
/// `log(x)`, stored in `out` where `mask` holds, or everywhere.
@discardableResult
public func log(
  _ x: Tensor, where mask: Tensor? = nil, out: some TensorOutput
) -> Tensor {
  out._store("log", [x], where: mask) { log($0[0]) }
}
/// `log1p(x)`, stored in `out` where `mask` holds, or everywhere.
@discardableResult
public func log1p(
  _ x: Tensor, where mask: Tensor? = nil, out: some TensorOutput
) -> Tensor {
  out._store("log1p", [x], where: mask) { log1p($0[0]) }
}
/// `cbrt(x)`, stored in `out` where `mask` holds, or everywhere.
@discardableResult
public func cbrt(
  _ x: Tensor, where mask: Tensor? = nil, out: some TensorOutput
) -> Tensor {
  out._store("cbrt", [x], where: mask) { cbrt($0[0]) }
}
/// `exp2(x)`, stored in `out` where `mask` holds, or everywhere.
@discardableResult
public func exp2(
  _ x: Tensor, where mask: Tensor? = nil, out: some TensorOutput
) -> Tensor {
  out._store("exp2", [x], where: mask) { exp2($0[0]) }
}
/// `log2(x)`, stored in `out` where `mask` holds, or everywhere.
@discardableResult
public func log2(
  _ x: Tensor, where mask: Tensor? = nil, out: some TensorOutput
) -> Tensor {
  out._store("log2", [x], where: mask) { log2($0[0]) }
}
/// `log10(x)`, stored in `out` where `mask` holds, or everywhere.
@discardableResult
public func log10(
  _ x: Tensor, where mask: Tensor? = nil, out: some TensorOutput
) -> Tensor {
  out._store("log10", [x], where: mask) { log10($0[0]) }
}
/// `tan(x)`, stored in `out` where `mask` holds, or everywhere.
@discardableResult
public func tan(
  _ x: Tensor, where mask: Tensor? = nil, out: some TensorOutput
) -> Tensor {
  out._store("tan", [x], where: mask) { tan($0[0]) }
}
/// `arcsin(x)`, stored in `out` where `mask` holds, or everywhere.
@discardableResult
public func arcsin(
  _ x: Tensor, where mask: Tensor? = nil, out: some TensorOutput
) -> Tensor {
  out._store("arcsin", [x], where: mask) { arcsin($0[0]) }
}
/// `arccos(x)`, stored in `out` where `mask` holds, or everywhere.
@discardableResult
public func arccos(
  _ x: Tensor, where mask: Tensor? = nil, out: some TensorOutput
) -> Tensor {
  out._store("arccos", [x], where: mask) { arccos($0[0]) }
}
/// `arctan(x)`, stored in `out` where `mask` holds, or everywhere.
@discardableResult
public func arctan(
  _ x: Tensor, where mask: Tensor? = nil, out: some TensorOutput
) -> Tensor {
  out._store("arctan", [x], where: mask) { arctan($0[0]) }
}
/// `arcsinh(x)`, stored in `out` where `mask` holds, or everywhere.
@discardableResult
public func arcsinh(
  _ x: Tensor, where mask: Tensor? = nil, out: some TensorOutput
) -> Tensor {
  out._store("arcsinh", [x], where: mask) { arcsinh($0[0]) }
}
/// `arccosh(x)`, stored in `out` where `mask` holds, or everywhere.
@discardableResult
public func arccosh(
  _ x: Tensor, where mask: Tensor? = nil, out: some TensorOutput
) -> Tensor {
  out._store("arccosh", [x], where: mask) { arccosh($0[0]) }
}
/// `arctanh(x)`, stored in `out` where `mask` holds, or everywhere.
@discardableResult
public func arctanh(
  _ x: Tensor, where mask: Tensor? = nil, out: some TensorOutput
) -> Tensor {
  out._store("arctanh", [x], where: mask) { arctanh($0[0]) }
}
/// `sinh(x)`, stored in `out` where `mask` holds, or everywhere.
@discardableResult
public func sinh(
  _ x: Tensor, where mask: Tensor? = nil, out: some TensorOutput
) -> Tensor {
  out._store("sinh", [x], where: mask) { sinh($0[0]) }
}
/// `cosh(x)`, stored in `out` where `mask` holds, or everywhere.
@discardableResult
public func cosh(
  _ x: Tensor, where mask: Tensor? = nil, out: some TensorOutput
) -> Tensor {
  out._store("cosh", [x], where: mask) { cosh($0[0]) }
}
/// `sin(x)`, stored in `out` where `mask` holds, or everywhere.
@discardableResult
public func sin(
  _ x: Tensor, where mask: Tensor? = nil, out: some TensorOutput
) -> Tensor {
  out._store("sin", [x], where: mask) { sin($0[0]) }
}
/// `cos(x)`, stored in `out` where `mask` holds, or everywhere.
@discardableResult
public func cos(
  _ x: Tensor, where mask: Tensor? = nil, out: some TensorOutput
) -> Tensor {
  out._store("cos", [x], where: mask) { cos($0[0]) }
}
/// `tanh(x)`, stored in `out` where `mask` holds, or everywhere.
@discardableResult
public func tanh(
  _ x: Tensor, where mask: Tensor? = nil, out: some TensorOutput
) -> Tensor {
  out._store("tanh", [x], where: mask) { tanh($0[0]) }
}
/// `sqrt(x)`, stored in `out` where `mask` holds, or everywhere.
@discardableResult
public func sqrt(
  _ x: Tensor, where mask: Tensor? = nil, out: some TensorOutput
) -> Tensor {
  out._store("sqrt", [x], where: mask) { sqrt($0[0]) }
}
/// `square(x)`, stored in `out` where `mask` holds, or everywhere.
@discardableResult
public func square(
  _ x: Tensor, where mask: Tensor? = nil, out: some TensorOutput
) -> Tensor {
  out._store("square", [x], where: mask) { square($0[0]) }
}
/// `reciprocal(x)`, stored in `out` where `mask` holds, or everywhere.
@discardableResult
public func reciprocal(
  _ x: Tensor, where mask: Tensor? = nil, out: some TensorOutput
) -> Tensor {
  out._store("reciprocal", [x], where: mask) { reciprocal($0[0]) }
}
/// `abs(x)`, stored in `out` where `mask` holds, or everywhere.
@discardableResult
public func abs(
  _ x: Tensor, where mask: Tensor? = nil, out: some TensorOutput
) -> Tensor {
  out._store("abs", [x], where: mask) { abs($0[0]) }
}
/// `-x`, stored in `out` where `mask` holds, or everywhere.
@discardableResult
public func negative(
  _ x: Tensor, where mask: Tensor? = nil, out: some TensorOutput
) -> Tensor {
  out._store("negative", [x], where: mask) { -$0[0] }
}
/// `+x`, stored in `out` where `mask` holds, or everywhere.
@discardableResult
public func positive(
  _ x: Tensor, where mask: Tensor? = nil, out: some TensorOutput
) -> Tensor {
  out._store("positive", [x], where: mask) { +$0[0] }
}
/// `a + b`, stored in `out` where `mask` holds, or everywhere.
@discardableResult
public func add(
  _ a: Tensor, _ b: Tensor, where mask: Tensor? = nil, out: some TensorOutput
) -> Tensor {
  out._store("add", [a, b], where: mask) { $0[0] + $0[1] }
}
/// `a - b`, stored in `out` where `mask` holds, or everywhere.
@discardableResult
public func subtract(
  _ a: Tensor, _ b: Tensor, where mask: Tensor? = nil, out: some TensorOutput
) -> Tensor {
  out._store("subtract", [a, b], where: mask) { $0[0] - $0[1] }
}
/// `a * b`, stored in `out` where `mask` holds, or everywhere.
@discardableResult
public func multiply(
  _ a: Tensor, _ b: Tensor, where mask: Tensor? = nil, out: some TensorOutput
) -> Tensor {
  out._store("multiply", [a, b], where: mask) { $0[0] * $0[1] }
}
/// `a / b`, stored in `out` where `mask` holds, or everywhere.
@discardableResult
public func divide(
  _ a: Tensor, _ b: Tensor, where mask: Tensor? = nil, out: some TensorOutput
) -> Tensor {
  out._store("divide", [a, b], where: mask) { $0[0] / $0[1] }
}
/// `a ** b`, stored in `out` where `mask` holds, or everywhere.
@discardableResult
public func power(
  _ a: Tensor, _ b: Tensor, where mask: Tensor? = nil, out: some TensorOutput
) -> Tensor {
  out._store("power", [a, b], where: mask) { $0[0] ** $0[1] }
}
/// `maximum(a, b)`, stored in `out` where `mask` holds, or everywhere.
@discardableResult
public func maximum(
  _ a: Tensor, _ b: Tensor, where mask: Tensor? = nil, out: some TensorOutput
) -> Tensor {
  out._store("maximum", [a, b], where: mask) { maximum($0[0], $0[1]) }
}
/// `minimum(a, b)`, stored in `out` where `mask` holds, or everywhere.
@discardableResult
public func minimum(
  _ a: Tensor, _ b: Tensor, where mask: Tensor? = nil, out: some TensorOutput
) -> Tensor {
  out._store("minimum", [a, b], where: mask) { minimum($0[0], $0[1]) }
}
/// `arctan2(a, b)`, stored in `out` where `mask` holds, or everywhere.
@discardableResult
public func arctan2(
  _ a: Tensor, _ b: Tensor, where mask: Tensor? = nil, out: some TensorOutput
) -> Tensor {
  out._store("arctan2", [a, b], where: mask) { arctan2($0[0], $0[1]) }
}
/// `logaddexp(a, b)`, stored in `out` where `mask` holds, or everywhere.
@discardableResult
public func logaddexp(
  _ a: Tensor, _ b: Tensor, where mask: Tensor? = nil, out: some TensorOutput
) -> Tensor {
  out._store("logaddexp", [a, b], where: mask) { logaddexp($0[0], $0[1]) }
}
/// `logaddexp2(a, b)`, stored in `out` where `mask` holds, or everywhere.
@discardableResult
public func logaddexp2(
  _ a: Tensor, _ b: Tensor, where mask: Tensor? = nil, out: some TensorOutput
) -> Tensor {
  out._store("logaddexp2", [a, b], where: mask) { logaddexp2($0[0], $0[1]) }
}
/// `matmul(a, b)`, stored in `out`.
@discardableResult
public func matmul(_ a: Tensor, _ b: Tensor, out: some TensorOutput) -> Tensor {
  out._store("matmul", [a, b], fillsExactly: true) { matmul(a, b) }
}
/// `concatenate(tensors, axis: axis)`, stored in `out`.
@discardableResult
public func concatenate(_ tensors: [Tensor], axis: Int = 0, out: some TensorOutput) -> Tensor {
  out._store("concatenate", tensors, fillsExactly: true) { concatenate(tensors, axis: axis) }
}
/// `stack(tensors, axis: axis)`, stored in `out`.
@discardableResult
public func stack(_ tensors: [Tensor], axis: Int = 0, out: some TensorOutput) -> Tensor {
  out._store("stack", tensors, fillsExactly: true) { stack(tensors, axis: axis) }
}

extension Tensor {
  /// `clip(lower, upper)`, stored in `out` where `mask` holds, or everywhere.
  @discardableResult
  public func clip(
    _ lower: (any TensorScalar)?, _ upper: (any TensorScalar)?, where mask: Tensor? = nil,
    out: some TensorOutput
  ) -> Tensor {
    out._store("clip", [self], where: mask) { $0[0].clip(lower, upper) }
  }
}
