// Every operation of the corpus: result, type, constness, view, gradients and errors.

import Foundation
import LazyGrad
import Testing

@Suite struct OperationTests {
  private enum Verdict {
    case agrees
    case differs(String)
    case deviates
    case absent
  }

  private struct Tally {
    var cases = 0
    var agree = 0
    var deviate = 0
    var differ = 0
    var absent = 0
  }

  private static func judge(_ test: JSON, _ corpus: Corpus) throws -> Verdict {
    guard let call = OperationTable.calls[test["op"].string!] else { return .absent }
    var inputs: [Tensor] = []
    for (reference, isConstant) in zip(test["in"].list!, test["const"].list!) {
      guard let array = corpus.array(reference) else { return .absent }
      inputs.append(Tensor(array, constant: isConstant.bool))
    }
    var result: Tensor?
    do {
      result = try catchingTensorErrors {
        call(OperationCall(inputs: inputs, options: test["kwargs"], corpus: corpus))
      }
    } catch {
      return test["raises"].isNull ? .differs("\(error)") : .agrees
    }
    guard let result else { return .absent }
    let text: String?
    if let error = test["raises"].string {
      text = "expected \(error), got a result"
    } else {
      guard let expected = corpus.array(test["out"]) else { return .absent }
      text = compare(result, expected, inputs, test, corpus)
    }
    guard let text else { return .agrees }
    let outcome = Deviation.Outcome(
      inputs: inputs.map { $0.elements(as: Double.self) }, options: test["kwargs"],
      result: result.array, gradients: inputs.map { $0.grad?.elements(as: Double.self) })
    let tags = test["tags"].list!.compactMap(\.string)
    let isMeant = Deviation.all.contains {
      $0.operation == test["op"].string && ($0.tag.isEmpty || tags.contains($0.tag))
        && $0.isRight(outcome)
    }
    return isMeant ? .deviates : .differs(text)
  }

  private static func compare(
    _ result: Tensor, _ expected: NDArray, _ inputs: [Tensor], _ test: JSON, _ corpus: Corpus
  ) -> String? {
    // A case is as exact as the least exact of its types.
    let types = inputs.map(\.dtype) + [expected.dtype]
    let leastExact = [DType.float16, .float32].first { types.contains($0) }
    let (relative, absolute) = tolerance(leastExact ?? .float64)
    if let text = difference(result.array, expected, relative: relative, absolute: absolute) {
      return "result: \(text)"
    }
    if result.isConstant != test["out_const"].bool {
      return "expected the result to be \(test["out_const"].bool! ? "constant" : "variable")"
    }
    if let view = test["view_of"].int, result.base !== inputs[view] {
      return "expected a view of operand \(view)"
    }
    guard let grads = test["grads"].list, let seed = corpus.array(test["seed"]) else { return nil }
    result.backward(Tensor(seed, constant: true))
    for (k, (input, reference)) in zip(inputs, grads).enumerated() {
      switch (input.grad, corpus.array(reference)) {
      case (nil, nil): continue
      case (_?, nil): return "gradient \(k): expected none, got one"
      case (nil, _?): return "gradient \(k): expected one, got none"
      case (let gradient?, let wanted?):
        // The sign of a gradient that is zero says nothing: it depends on how a rule is written.
        if let text = difference(
          gradient.array, wanted, relative: relative, absolute: absolute, signsOfZeros: false)
        {
          return "gradient \(k): \(text)"
        }
      }
    }
    return nil
  }

  @Test func operationsAgree() throws {
    let corpus = try Corpus.shared.get()
    var tallies: [String: Tally] = [:]
    for test in try corpus.all("op") {
      let name = test["op"].string!
      tallies[name, default: Tally()].cases += 1
      switch try Self.judge(test, corpus) {
      case .agrees: tallies[name]!.agree += 1
      case .deviates: tallies[name]!.deviate += 1
      case .absent: tallies[name]!.absent += 1
      case .differs(let text):
        tallies[name]!.differ += 1
        Issue.record("\(test["id"].string ?? name): \(text)")
      }
    }
    // An operation that vanishes would count as not there yet, so what is not there stands in a file.
    if corpus.isOwn {
      let absent = tallies.filter { $0.value.absent > 0 }.mapValues(\.absent)
      let listed = try Self.listedAsAbsent()
      for name in Set(absent.keys).union(listed.keys).sorted() {
        #expect(absent[name] == listed[name], "\(name): cases that are not there, against the list")
      }
    }
    report("conformance: operations\n" + Self.table(tallies))
  }

  /// Fixtures/not-there.txt: how many cases of an operation use what LazyGrad does not have.
  private static func listedAsAbsent() throws -> [String: Int] {
    let file = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
      .appendingPathComponent("Fixtures/not-there.txt")
    let lines = try String(contentsOf: file, encoding: .utf8).split(separator: "\n")
    let pairs = lines.filter { !$0.hasPrefix("#") }.map { $0.split(separator: " ") }
    return Dictionary(uniqueKeysWithValues: pairs.map { (String($0[0]), Int($0[1])!) })
  }

  private static func table(_ tallies: [String: Tally]) -> String {
    func row(_ cells: [String]) -> String {
      cells[0].padding(toLength: 22, withPad: " ", startingAt: 0)
        + cells.dropFirst().map { String(repeating: " ", count: 10 - $0.count) + $0 }.joined()
    }
    func row(_ name: String, _ t: Tally) -> String {
      row([name] + [t.cases, t.agree, t.deviate, t.differ, t.absent].map { "\($0)" })
    }
    var total = Tally()
    var lines = [row(["operation", "cases", "agree", "deviate", "differ", "not there"])]
    for (name, t) in tallies.sorted(by: { $0.key < $1.key }) {
      if t.absent < t.cases { lines.append(row(name, t)) }
      total.cases += t.cases
      total.agree += t.agree
      total.deviate += t.deviate
      total.differ += t.differ
      total.absent += t.absent
    }
    return (lines + [row("all", total)]).joined(separator: "\n")
  }
}
