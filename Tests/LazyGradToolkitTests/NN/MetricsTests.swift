// Accuracy and confusion, counted by hand.

import LazyGrad
import Testing

@Suite("Metrics")
struct MetricsTests {
  private let scores = Tensor([[0.1, 0.9, 0], [2, 1, 0], [0, 0, 5], [3, 1, 2]])

  @Test("Accuracy of scores and of classes")
  func accuracy() {
    #expect(Metrics.accuracy(scores, NDArray([1, 0, 2, 2])) == 0.75)
    #expect(Metrics.accuracy(scores, Tensor([1, 0, 2, 0])) == 1)
    #expect(Metrics.accuracy(Tensor([1, 2, 3]), NDArray([1, 1, 1])) == 1.0 / 3)
    #expect(Metrics.accuracy(Tensor.zeros([0, 3]), NDArray.zeros([0], dtype: .int64)).isNaN)
  }

  @Test("Confusion over several batches")
  func confusion() {
    var matrix = ConfusionMatrix(classes: 3)
    matrix.add(scores, NDArray([1, 0, 2, 2]))
    matrix.add(Tensor([0, 0, 1]), NDArray([0, 1, 1]))
    #expect(matrix.counts == [[2, 0, 0], [1, 2, 0], [1, 0, 1]])
    #expect(matrix.total == 7)
    #expect(matrix.accuracy == 5.0 / 7)
    #expect(matrix.precision(of: 0) == 0.5)
    #expect(matrix.recall(of: 0) == 1)
    #expect(matrix.f1(of: 0) == 2 * 0.5 / 1.5)
    #expect(matrix.precision(of: 2) == 1)
    #expect(matrix.recall(of: 2) == 0.5)
    let empty = ConfusionMatrix(classes: 2)
    #expect(empty.accuracy == 0 && empty.precision(of: 1) == 0 && empty.f1(of: 0) == 0)
  }

  @Test("The table is aligned")
  func table() {
    var matrix = ConfusionMatrix(classes: 3, names: ["cat", "dog", "elephant"])
    for _ in 0..<120 { matrix.add(Tensor([0, 1, 2]), NDArray([0, 1, 0])) }
    #expect(
      matrix.description == """
                  predicted
                  cat  dog  elephant
        cat       120    0       120
        dog         0  120         0
        elephant    0    0         0
        """)
    let lines = matrix.description.split(separator: "\n").dropFirst()
    #expect(Set(lines.map(\.count)).count == 1)
    #expect(ConfusionMatrix(classes: 1).description == "   predicted\n   0\n0  0")
  }

  @Test("What does not fit is refused")
  func refusals() {
    var matrix = ConfusionMatrix(classes: 2)
    let cases: [(String, () -> Void)] = [
      (
        "accuracy: expected scores [rows, classes] or whole numbers [rows], got [3] float64",
        { _ = Metrics.accuracy(Tensor([1.0, 2, 3]), NDArray([1, 2, 3])) }
      ),
      (
        "accuracy: expected a whole number as label for each of 4 rows, got [3] int64",
        { _ = Metrics.accuracy(scores, NDArray([1, 2, 3])) }
      ),
      (
        "accuracy: expected a whole number as label for each of 4 rows, got [4] float64",
        { _ = Metrics.accuracy(scores, NDArray([1.0, 2, 3, 4])) }
      ),
      (
        "ConfusionMatrix: expected classes from 0 to 1, got 2",
        { matrix.add(scores, NDArray([1, 0, 2, 2])) }
      ),
      (
        "ConfusionMatrix: expected classes from 0 to 1, got -1",
        { matrix.add(Tensor([0]), NDArray([-1])) }
      ),
      (
        "ConfusionMatrix: expected classes and a name for each, got 2 and [\"a\"]",
        { _ = ConfusionMatrix(classes: 2, names: ["a"]) }
      ),
      (
        "add: expected shapes that broadcast together, got [4, 3] and [2]",
        { _ = Metrics.accuracy(scores + Tensor([1.0, 2]), NDArray([1, 0, 2, 2])) }
      ),
    ]
    for (message, body) in cases { #expect(tensorError(body)?.description == message) }
    #expect(matrix.total == 0)
  }
}
