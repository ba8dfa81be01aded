// Numbers that say how good a classifier is.

/// How often a classifier is right.
public enum Metrics {
  /// Which part of the rows has its greatest score at the label; not-a-number of no rows.
  ///
  ///     print(Metrics.accuracy(model(x, training: false), labels))
  ///
  /// - Parameters:
  ///   - scores: Of shape `[rows, classes]`, or the classes themselves as whole numbers of shape `[rows]`.
  ///   - labels: For every row the number of its class.
  /// - Complexity: forces evaluation of both.
  public static func accuracy(_ scores: Tensor, _ labels: some ArrayOperand) -> Double {
    guard let (found, labels) = classes("accuracy", scores, labels) else { return .nan }
    let right = zip(found, labels).count { $0 == $1 }
    return Double(right) / Double(found.count)
  }

  /// The classes that scores name, and the labels; nil where they don't fit, which is reported.
  fileprivate static func classes(
    _ operation: String, _ scores: Tensor, _ labels: some ArrayOperand
  ) -> (found: [Int], labels: [Int])? {
    let labels = labels._form
    // Reading a poisoned tensor reports it.
    if scores.isPoisoned || labels.isPoisoned {
      scores.eval()
      labels.eval()
      return nil
    }
    let isScores = scores.rank == 2 && scores.shape[1] > 0
    let isClasses = scores.rank == 1 && !scores.dtype.isFloating
    if !isScores && !isClasses {
      _ = Tensor.failure(
        operation,
        "expected scores [rows, classes] or whole numbers [rows], got \(scores.shape) \(scores.dtype)",
        operands: [scores])
      return nil
    }
    if labels.shape != [scores.shape[0]] || labels.dtype.isFloating {
      _ = Tensor.failure(
        operation,
        "expected a whole number as label for each of \(scores.shape[0]) rows, got \(labels.shape) "
          + "\(labels.dtype)", operands: [scores, labels])
      return nil
    }
    if scores.shape[0] == 0 { return ([], []) }
    let found = isClasses ? scores : noAutodiff { scores.argmax(axis: 1) }
    return (found.elements(as: Int.self), labels.elements(as: Int.self))
  }
}

/// How often things of each class were taken for things of each class.
///
///     var confusion = ConfusionMatrix(classes: 3, names: ["cat", "dog", "owl"])
///     for batch in batches { confusion.add(model(batch.x, training: false), batch.y) }
///     print(confusion)
///     print(confusion.accuracy, confusion.recall(of: 0))
///
///                  predicted
///               cat   dog   owl
///     cat        48     2     0
///     dog         3    41     6
///     owl         0     1    49
///
/// Where there is nothing to count, numbers are 0, as in scikit-learn: the precision of a class that was never
/// predicted, the recall of one that is not there.
public struct ConfusionMatrix: Sendable, Equatable {
  /// `counts[i][j]`: how often class i was taken for class j.
  public private(set) var counts: [[Int]]
  /// What the classes are called.
  public let names: [String]

  /// A matrix of zeros.
  ///
  /// - Parameters:
  ///   - classes: Their number.
  ///   - names: What they are called when printed; nil: their numbers.
  public init(classes: Int, names: [String]? = nil) {
    var classes = classes
    if classes < 1 || names.map({ $0.count != classes }) ?? false {
      _ = Tensor.failure(
        "ConfusionMatrix", "expected classes and a name for each, got \(classes) and \(names ?? [])"
      )
      classes = max(classes, 0)
    }
    counts = [[Int]](repeating: [Int](repeating: 0, count: classes), count: classes)
    let given = names ?? []
    self.names = (0..<classes).map { $0 < given.count ? given[$0] : "\($0)" }
  }

  /// Counts the rows of a batch.
  ///
  /// - Parameters:
  ///   - scores: Of shape `[rows, classes]`, or the classes themselves as whole numbers of shape `[rows]`.
  ///   - labels: For every row the number of its class.
  /// - Complexity: forces evaluation of both.
  public mutating func add(_ scores: Tensor, _ labels: some ArrayOperand) {
    guard let (found, labels) = Metrics.classes("ConfusionMatrix", scores, labels) else { return }
    if let wrong = (found + labels).first(where: { !counts.indices.contains($0) }) {
      _ = Tensor.failure(
        "ConfusionMatrix", "expected classes from 0 to \(counts.count - 1), got \(wrong)")
      return
    }
    for (found, label) in zip(found, labels) { counts[label][found] += 1 }
  }

  /// How many rows were counted.
  public var total: Int { counts.reduce(0) { $0 + $1.reduce(0, +) } }

  /// Which part of all rows was taken for what it is.
  public var accuracy: Double { ratio(counts.indices.reduce(0) { $0 + counts[$1][$1] }, total) }

  /// Which part of what was taken for a class belongs to it.
  public func precision(of label: Int) -> Double {
    ratio(counts[label][label], counts.reduce(0) { $0 + $1[label] })
  }

  /// Which part of a class was found.
  public func recall(of label: Int) -> Double {
    ratio(counts[label][label], counts[label].reduce(0, +))
  }

  /// The harmonic mean of precision and recall.
  public func f1(of label: Int) -> Double {
    let both = counts[label].reduce(0, +) + counts.reduce(0) { $0 + $1[label] }
    return ratio(2 * counts[label][label], both)
  }

  private func ratio(_ part: Int, _ whole: Int) -> Double {
    whole == 0 ? 0 : Double(part) / Double(whole)
  }
}

extension ConfusionMatrix: CustomStringConvertible {
  /// The counts as a table: a row for what things are, a column for what they were taken for.
  public var description: String {
    let texts = counts.map { $0.map(String.init) }
    let first = names.map(\.count).max() ?? 0
    let widths = names.indices.map { j in
      max(names[j].count, texts.map { $0[j].count }.max() ?? 0)
    }
    func padded(_ text: String, _ width: Int) -> String {
      String(repeating: " ", count: max(width - text.count, 0)) + text
    }
    func row(_ name: String, _ cells: [String]) -> String {
      name + String(repeating: " ", count: first - name.count)
        + zip(cells, widths).map { "  " + padded($0, $1) }.joined()
    }
    let heading = String(repeating: " ", count: first + 2) + "predicted"
    return ([heading, row("", names)] + zip(names, texts).map(row)).joined(separator: "\n")
  }
}
