// Tests of the variance: every number that can be taken off the count, and its gradient.

import LazyGrad
import Testing

@Suite struct VarianceTests {
  private static let rows: [[Double]] = [[1, 2, 4, 8, -3], [0.5, 0, 2.5, -1, 7]]

  private func deviations(_ x: [Double]) -> [Double] {
    let mean = x.reduce(0, +) / Double(x.count)
    return x.map { $0 - mean }
  }

  private func expectClose(_ actual: [Double], _ expected: [Double]) {
    #expect(actual.count == expected.count)
    for (x, y) in zip(actual, expected) { #expect(abs(x - y) <= 1e-12 * max(1, abs(y))) }
  }

  @Test(arguments: [-2, 0, 1, 2, 3, 4])
  func itIsDividedByTheCountLessDdof(_ ddof: Int) {
    let x = Tensor(NDArray(Self.rows.flatMap { $0 }, shape: [2, 5]))
    let variance = x.var(axis: 1, ddof: ddof)
    let divisor = Double(5 - ddof)
    expectClose(
      variance.elements(as: Double.self),
      Self.rows.map { row in deviations(row).reduce(0) { $0 + $1 * $1 } / divisor })
    variance.backward()
    expectClose(
      x.grad!.elements(as: Double.self),
      Self.rows.flatMap { row in deviations(row).map { 2 * $0 / divisor } })
    let all = Self.rows.flatMap { $0 }
    expectClose(
      [x.var(ddof: ddof).item()],
      [deviations(all).reduce(0) { $0 + $1 * $1 } / Double(10 - ddof)])
  }

  @Test(arguments: [5, 6, 100])
  func whereNothingIsLeftToDivideByItIsInfinite(_ ddof: Int) {
    let x = Tensor(NDArray(Self.rows.flatMap { $0 }, shape: [2, 5]))
    #expect(x.var(axis: 1, ddof: ddof).elements(as: Double.self) == [.infinity, .infinity])
  }
}
