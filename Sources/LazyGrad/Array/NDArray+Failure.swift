// What stands in the place of an array that can't be made. Uses the scopes of TensorError.

internal import LazyGradJIT

extension NDArray {
  /// The array that `body` makes. Where it can't, that is reported, and inside `catchingTensorErrors`
  /// a scalar stands in its place.
  static func made(
    _ dtype: DType, _ body: () throws(TensorError) -> NDArray
  ) -> NDArray {
    do throws(TensorError) { return try body() } catch {
      return placeholder(dtype, LazyGrad.poison(error))
    }
  }

  /// What reading gives where there is no value and an error will be thrown: not-a-number, or 0.
  static func placeholder(_ dtype: DType, _ poison: Poison? = nil) -> NDArray {
    let result = NDArray(
      storage: Storage(unlimited: dtype.size), layout: LayoutTable.scalar, offset: 0, dtype: dtype,
      poison: poison)
    var value = dtype.isFloating ? Double.nan : 0
    ElementConversion.convert(from: &value, .float64, to: result.pointer, dtype, count: 1)
    return result
  }

  /// Refuses to go on with what stands in the place of an array.
  func checkIsMade() throws(TensorError) {
    if let poison { throw poison.error }
  }
}
