// Runs of elements along an axis: what scans and sorting work on.

/// As many runs one behind the other as `outer`, as many side by side as `inner`, each of `length` elements,
/// in C order.
package struct Runs: Sendable {
  package var outer: Int
  package var length: Int
  package var inner: Int

  package init(outer: Int = 0, length: Int = 0, inner: Int = 0) {
    self.outer = outer
    self.length = length
    self.inner = inner
  }
}
