// A classifier of irises that PyTorch has trained answers line by line: four measurements in centimetres in,
// the species and how likely each is out. A line that can't be answered gets a line that says why.
//     echo "5.1 3.5 1.4 0.2" | swift run -c release TorchModel
//     swift run -c release TorchModel --check
// `make_model.py` has trained it and written the weights.

import Foundation
import LazyGrad

/// The network of `make_model.py`, with the names that its parts have there.
struct Iris: Layer {
  let scale = BatchNorm(4, dtype: .float32)
  let hidden = [Dense(4, 16, dtype: .float32), Dense(16, 16, dtype: .float32)]
  let norm = LayerNorm(16, dtype: .float32)
  let output = Dense(16, 3, dtype: .float32)

  /// Reads the weights by their names.
  init(_ file: SafeTensors) throws {
    var values: [String: Tensor] = [:]
    for name in file.names where !name.hasSuffix(".num_batches_tracked") {
      let value = try file.tensor(name, constant: true)
      // PyTorch's Linear has its weight the other way around, [outputs, inputs].
      values[name] = value.rank == 2 ? value.T : value
    }
    try load(values)
  }

  func callAsFunction(_ x: Tensor, training: Bool) -> Tensor {
    let x = hidden.reduce(scale(x, training: training)) { tanh($1($0)) }
    return output(norm(x))
  }

  /// How likely each class is, for `[N, 4]` measurements.
  func probabilities(_ x: Tensor) -> Tensor {
    noAutodiff { softmax(self(x, training: false), axis: 1) }
  }
}

/// Answers lines.
struct Service {
  /// Why a line can't be answered.
  struct Refusal: Error, CustomStringConvertible {
    let description: String
  }

  let network: Iris
  let classes: [String]

  /// The species and how likely each is; or an error in the same place, so that there is a line out for every line
  /// in.
  func answer(_ line: Line) -> String {
    do {
      let probabilities = try answer(numbers(line))
      let best = probabilities.indices.max { probabilities[$0] < probabilities[$1] }!
      let texts = zip(classes, probabilities).map { String(format: "%@=%.4f", $0, $1) }
      return ([classes[best]] + texts).joined(separator: " ")
    } catch { return "error: \(error)" }
  }

  func answer(_ numbers: [Float]) throws -> [Double] {
    let result = try catchingTensorErrors {
      network.probabilities(Tensor(numbers, shape: [1, 4])).elements(as: Double.self)
    }
    // Sums of numbers that are too large for 32 bits.
    if !result.allSatisfy(\.isFinite) { throw Refusal(description: "the numbers are too large") }
    return result
  }

  /// The four numbers of a line, between blanks or commas.
  private func numbers(_ line: Line) throws -> [Float] {
    guard case .bytes(let bytes) = line else {
      throw Refusal(description: "expected at most \(LineReader.limit) bytes in a line, got more")
    }
    guard let text = String(validating: bytes, as: UTF8.self) else {
      throw Refusal(description: "expected UTF-8, got other bytes")
    }
    let words = text.split { $0.isWhitespace || $0 == "," }
    if words.count != 4 { throw Refusal(description: "expected 4 numbers, got \(words.count)") }
    return try words.map { word in
      guard let number = Float(word), number.isFinite else {
        // The word comes from outside: whatever could move a terminal's cursor is escaped.
        let shown = String(word.prefix(20)).debugDescription + (word.count > 20 ? "..." : "")
        throw Refusal(description: "expected a number, got \(shown)")
      }
      return number
    }
  }
}

/// Compares with PyTorch's outputs for 150 inputs, at once and one by one. Whether all are within 1e-5.
func check(_ service: Service) throws -> Bool {
  let file = try SafeTensors(
    bytes: PackageResources.expected_safetensors, name: "expected.safetensors")
  let (x, labels) = (try file.tensor("inputs", constant: true), try file.array("labels"))
  let expected = try (
    logits: file.tensor("logits", constant: true),
    probabilities: file.tensor("probabilities", constant: true)
  )
  let logits = noAutodiff { service.network(x, training: false) }
  let rows = x.elements(as: Float.self)
  let singly = try stride(from: 0, to: rows.count, by: 4).flatMap {
    try service.answer(Array(rows[$0..<$0 + 4]))
  }
  let differences = [
    ("logits", abs(logits - expected.logits).max()),
    ("probabilities", abs(service.network.probabilities(x) - expected.probabilities).max()),
    (
      "probabilities, line by line",
      abs(Tensor(singly, shape: expected.probabilities.shape) - expected.probabilities).max()
    ),
  ].map { ($0, $1.item()) }

  print("\(x.shape[0]) inputs                    greatest difference to PyTorch")
  for (name, difference) in differences {
    print(
      name.padding(toLength: 34, withPad: " ", startingAt: 0) + String(format: "%8.1e", difference))
  }
  let accuracy = Metrics.accuracy(logits, labels)
  let theirs = Metrics.accuracy(expected.logits, labels)
  print(String(format: "\naccuracy %.4f, PyTorch's %.4f", accuracy, theirs))
  let isEqual = differences.allSatisfy { $0.1 <= 1e-5 } && accuracy == theirs
  print(isEqual ? "equal to 1e-5" : "not equal to 1e-5")
  return isEqual
}

let options = Options(CommandLine.arguments)
do {
  let file =
    if let model = options.model { try SafeTensors(model) } else {
      try SafeTensors(bytes: PackageResources.iris_safetensors, name: "iris.safetensors")
    }
  let classes = (file.metadata["classes"] ?? "0,1,2").split(separator: ",").map(String.init)
  if classes.count != 3 {
    throw Service.Refusal(description: "expected 3 classes in the file, got \(classes.count)")
  }
  let service = Service(network: try Iris(file), classes: classes)
  if options.check { exit(try check(service) ? 0 : 1) }
  if isatty(STDIN_FILENO) == 1 {
    note("sepal length and width, petal length and width in cm; Ctrl-D ends")
  }
  var lines = LineReader()
  while let line = lines.next() {
    // At once, for programs at the other end of a pipe that wait for the answer.
    try FileHandle.standardOutput.write(contentsOf: Data((service.answer(line) + "\n").utf8))
  }
} catch { stop("\(error)", status: 1) }
