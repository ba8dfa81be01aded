// The forms of operations that store their result in a tensor or an array that exists: MyGrad's `out=`.
// What that means is said, and done, in TensorOutput.swift.

/// `exp(x)`, stored in `out`.
@discardableResult
public func exp(_ x: Tensor, out: some TensorOutput) -> Tensor {
  out._store("exp", [x]) { exp(x) }
}
/// `expm1(x)`, stored in `out`.
@discardableResult
public func expm1(_ x: Tensor, out: some TensorOutput) -> Tensor {
  out._store("expm1", [x]) { expm1(x) }
}
/// `log(x)`, stored in `out`.
@discardableResult
public func log(_ x: Tensor, out: some TensorOutput) -> Tensor {
  out._store("log", [x]) { log(x) }
}
/// `log1p(x)`, stored in `out`.
@discardableResult
public func log1p(_ x: Tensor, out: some TensorOutput) -> Tensor {
  out._store("log1p", [x]) { log1p(x) }
}
/// `cbrt(x)`, stored in `out`.
@discardableResult
public func cbrt(_ x: Tensor, out: some TensorOutput) -> Tensor {
  out._store("cbrt", [x]) { cbrt(x) }
}
/// `exp2(x)`, stored in `out`.
@discardableResult
public func exp2(_ x: Tensor, out: some TensorOutput) -> Tensor {
  out._store("exp2", [x]) { exp2(x) }
}
/// `log2(x)`, stored in `out`.
@discardableResult
public func log2(_ x: Tensor, out: some TensorOutput) -> Tensor {
  out._store("log2", [x]) { log2(x) }
}
/// `log10(x)`, stored in `out`.
@discardableResult
public func log10(_ x: Tensor, out: some TensorOutput) -> Tensor {
  out._store("log10", [x]) { log10(x) }
}
/// `tan(x)`, stored in `out`.
@discardableResult
public func tan(_ x: Tensor, out: some TensorOutput) -> Tensor {
  out._store("tan", [x]) { tan(x) }
}
/// `arcsin(x)`, stored in `out`.
@discardableResult
public func arcsin(_ x: Tensor, out: some TensorOutput) -> Tensor {
  out._store("arcsin", [x]) { arcsin(x) }
}
/// `arccos(x)`, stored in `out`.
@discardableResult
public func arccos(_ x: Tensor, out: some TensorOutput) -> Tensor {
  out._store("arccos", [x]) { arccos(x) }
}
/// `arctan(x)`, stored in `out`.
@discardableResult
public func arctan(_ x: Tensor, out: some TensorOutput) -> Tensor {
  out._store("arctan", [x]) { arctan(x) }
}
/// `arcsinh(x)`, stored in `out`.
@discardableResult
public func arcsinh(_ x: Tensor, out: some TensorOutput) -> Tensor {
  out._store("arcsinh", [x]) { arcsinh(x) }
}
/// `arccosh(x)`, stored in `out`.
@discardableResult
public func arccosh(_ x: Tensor, out: some TensorOutput) -> Tensor {
  out._store("arccosh", [x]) { arccosh(x) }
}
/// `arctanh(x)`, stored in `out`.
@discardableResult
public func arctanh(_ x: Tensor, out: some TensorOutput) -> Tensor {
  out._store("arctanh", [x]) { arctanh(x) }
}
/// `sinh(x)`, stored in `out`.
@discardableResult
public func sinh(_ x: Tensor, out: some TensorOutput) -> Tensor {
  out._store("sinh", [x]) { sinh(x) }
}
/// `cosh(x)`, stored in `out`.
@discardableResult
public func cosh(_ x: Tensor, out: some TensorOutput) -> Tensor {
  out._store("cosh", [x]) { cosh(x) }
}
/// `sin(x)`, stored in `out`.
@discardableResult
public func sin(_ x: Tensor, out: some TensorOutput) -> Tensor {
  out._store("sin", [x]) { sin(x) }
}
/// `cos(x)`, stored in `out`.
@discardableResult
public func cos(_ x: Tensor, out: some TensorOutput) -> Tensor {
  out._store("cos", [x]) { cos(x) }
}
/// `tanh(x)`, stored in `out`.
@discardableResult
public func tanh(_ x: Tensor, out: some TensorOutput) -> Tensor {
  out._store("tanh", [x]) { tanh(x) }
}
/// `sqrt(x)`, stored in `out`.
@discardableResult
public func sqrt(_ x: Tensor, out: some TensorOutput) -> Tensor {
  out._store("sqrt", [x]) { sqrt(x) }
}
/// `square(x)`, stored in `out`.
@discardableResult
public func square(_ x: Tensor, out: some TensorOutput) -> Tensor {
  out._store("square", [x]) { square(x) }
}
/// `reciprocal(x)`, stored in `out`.
@discardableResult
public func reciprocal(_ x: Tensor, out: some TensorOutput) -> Tensor {
  out._store("reciprocal", [x]) { reciprocal(x) }
}
/// `abs(x)`, stored in `out`.
@discardableResult
public func abs(_ x: Tensor, out: some TensorOutput) -> Tensor { out._store("abs", [x]) { abs(x) } }
/// `-x`, stored in `out`.
@discardableResult
public func negative(_ x: Tensor, out: some TensorOutput) -> Tensor {
  out._store("negative", [x]) { -x }
}
/// `+x`, stored in `out`.
@discardableResult
public func positive(_ x: Tensor, out: some TensorOutput) -> Tensor {
  out._store("positive", [x]) { +x }
}
/// `a + b`, stored in `out`.
@discardableResult
public func add(_ a: Tensor, _ b: Tensor, out: some TensorOutput) -> Tensor {
  out._store("add", [a, b]) { a + b }
}
/// `a - b`, stored in `out`.
@discardableResult
public func subtract(_ a: Tensor, _ b: Tensor, out: some TensorOutput) -> Tensor {
  out._store("subtract", [a, b]) { a - b }
}
/// `a * b`, stored in `out`.
@discardableResult
public func multiply(_ a: Tensor, _ b: Tensor, out: some TensorOutput) -> Tensor {
  out._store("multiply", [a, b]) { a * b }
}
/// `a / b`, stored in `out`.
@discardableResult
public func divide(_ a: Tensor, _ b: Tensor, out: some TensorOutput) -> Tensor {
  out._store("divide", [a, b]) { a / b }
}
/// `a ** b`, stored in `out`.
@discardableResult
public func power(_ a: Tensor, _ b: Tensor, out: some TensorOutput) -> Tensor {
  out._store("power", [a, b]) { a ** b }
}
/// `maximum(a, b)`, stored in `out`.
@discardableResult
public func maximum(_ a: Tensor, _ b: Tensor, out: some TensorOutput) -> Tensor {
  out._store("maximum", [a, b]) { maximum(a, b) }
}
/// `minimum(a, b)`, stored in `out`.
@discardableResult
public func minimum(_ a: Tensor, _ b: Tensor, out: some TensorOutput) -> Tensor {
  out._store("minimum", [a, b]) { minimum(a, b) }
}
/// `arctan2(a, b)`, stored in `out`.
@discardableResult
public func arctan2(_ a: Tensor, _ b: Tensor, out: some TensorOutput) -> Tensor {
  out._store("arctan2", [a, b]) { arctan2(a, b) }
}
/// `logaddexp(a, b)`, stored in `out`.
@discardableResult
public func logaddexp(_ a: Tensor, _ b: Tensor, out: some TensorOutput) -> Tensor {
  out._store("logaddexp", [a, b]) { logaddexp(a, b) }
}
/// `logaddexp2(a, b)`, stored in `out`.
@discardableResult
public func logaddexp2(_ a: Tensor, _ b: Tensor, out: some TensorOutput) -> Tensor {
  out._store("logaddexp2", [a, b]) { logaddexp2(a, b) }
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
  /// `clip(lower, upper)`, stored in `out`.
  @discardableResult
  public func clip(
    _ lower: (any TensorScalar)?, _ upper: (any TensorScalar)?, out: some TensorOutput
  ) -> Tensor {
    out._store("clip", [self]) { clip(lower, upper) }
  }
}
