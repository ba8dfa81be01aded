// What takes several operations, on types in which nothing is computed: in float32, and rounded once, as each
// operation by itself is. Uses casts.

internal import LazyGradJIT

extension Tensor {
  /// Whether the elements are float16 or bfloat16.
  @inline(__always)
  var isHalf: Bool { slot.pointee.type.isHalf }

  /// What `body` makes of up to three tensors, which are float32 there where they are float16 or bfloat16. The
  /// result is rounded to the type that they have in common, if that is one of these.
  @inline(__always)
  static func inFloat32(
    _ a: Tensor, _ b: Tensor? = nil, _ c: Tensor? = nil,
    _ body: (Tensor, Tensor?, Tensor?) -> Tensor
  ) -> Tensor {
    if !a.isHalf, b?.isHalf != true, c?.isHalf != true { return body(a, b, c) }
    let type = common([a, b, c].compactMap { $0 })
    return body(a.widened(), b?.widened(), c?.widened()).narrowed(to: type)
  }

  /// The same for any number of tensors.
  static func inFloat32(_ tensors: [Tensor], _ body: ([Tensor]) -> Tensor) -> Tensor {
    if !hasHalf(tensors) { return body(tensors) }
    return body(tensors.map { $0.widened() }).narrowed(to: common(tensors))
  }

  static func hasHalf(_ tensors: [Tensor]) -> Bool {
    for tensor in tensors where tensor.isHalf { return true }
    return false
  }

  static func common(_ tensors: [Tensor]) -> DType {
    tensors.dropFirst().reduce(tensors[0].dtype) { DType.promoted($0, $1.dtype) }
  }

  /// Float16 and bfloat16 as float32; other tensors themselves.
  func widened() -> Tensor { isHalf ? converted(to: .float32) : self }

  /// A float32 as float16 or bfloat16, if that is the type; other tensors themselves.
  func narrowed(to type: DType) -> Tensor {
    type.scalarType.isHalf && dtype == .float32 ? converted(to: type) : self
  }

  /// A cast that is part of an operation.
  private func converted(to type: DType) -> Tensor {
    Self.record(self) {
      .made(Tape.cast(slot, to: type.scalarType, isImplied: true, mode: $0))
    }
  }
}
