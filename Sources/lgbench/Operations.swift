// W10: one operation of every family on 10, 1,000 and 1,000,000 numbers, forward and with gradients. Uses
// the public interface, RandomState, Timing and Report.

import LazyGrad

/// An operation of a family on about so many elements.
private struct FamilyCase {
  let family: String
  let count: Int
  /// What it is differentiated by; none where there is no gradient.
  let parameters: [Tensor]
  let run: () -> Tensor

  var name: String { "\(family)/\(count)" }

  static let families = [
    "add", "exp", "sin", "tanh", "power", "arctan2", "hypot", "sum", "var", "argmax", "softmax",
    "cumsum", "sort", "where", "mask", "rows", "slice", "concatenate", "einsum", "conv", "solve",
    "normal",
  ]
  static let counts = [10, 1000, 1_000_000]

  static func make(_ family: String, _ count: Int) -> FamilyCase {
    var random = RandomState(seed: 10)
    func tensor(_ shape: [Int]) -> Tensor {
      let values = (0..<shape.reduce(1, *)).map { _ in Float(random.uniform()) + 0.25 }
      return Tensor(NDArray(values, shape: shape))
    }
    func numbers(_ count: Int, below limit: Int) -> NDArray {
      NDArray((0..<count).map { _ in Int(random.uniform() * Double(limit)) })
    }
    func of(_ parameters: [Tensor], _ run: @escaping () -> Tensor) -> FamilyCase {
      FamilyCase(family: family, count: count, parameters: parameters, run: run)
    }
    let (a, b) = (tensor([count]), tensor([count]))
    let side = Int(Double(count).squareRoot())
    switch family {
    case "add": return of([a, b]) { a + b }
    case "exp": return of([a]) { exp(a) }
    case "sin": return of([a]) { sin(a) }
    case "tanh": return of([a]) { tanh(a) }
    case "power": return of([a, b]) { a ** b }
    case "arctan2": return of([a, b]) { arctan2(a, b) }
    case "hypot": return of([a, b]) { hypot(a, b) }
    case "sum": return of([a]) { a.sum() }
    case "var": return of([a]) { a.var() }
    case "cumsum": return of([a]) { a.cumsum() }
    case "sort": return of([a]) { a.sorted() }
    case "argmax":
      let x = tensor([count / 10, 10])
      return of([]) { x.argmax(axis: 1) }
    case "softmax":
      let x = tensor([count / 10, 10])
      return of([x]) { softmax(x) }
    case "where":
      let mask = Tensor(NDArray((0..<count).map { $0 % 3 == 0 }), constant: true)
      return of([a, b]) { `where`(mask, a, b) }
    case "mask":
      let mask = NDArray((0..<count).map { _ in random.uniform() < 0.5 })
      return of([a]) { a[mask] }
    case "rows":
      let table = tensor([max(count / 10, 1), 10])
      let places = numbers(max(count / 10, 1), below: table.shape[0])
      return of([table]) { table.takeRows(places) }
    case "slice":
      return of([a, b]) {
        let x = +a
        x[0..<(count / 2)] += b[0..<(count / 2)]
        return x
      }
    case "concatenate": return of([a, b]) { concatenate([a, b]) }
    case "einsum":
      let (x, y) = (tensor([side, side]), tensor([side, side]))
      return of([x, y]) { einsum("ij,kj->ik", x, y) }
    case "conv":
      let (x, filters) = (tensor([1, 8, count / 8 + 2]), tensor([8, 8, 3]))
      return of([x, filters]) { convND(x, filters, stride: 1) }
    case "solve":
      // Far from singular.
      let eye = Tensor.eye(side, dtype: .float32, constant: true) * Float(side)
      let (x, y) = (tensor([side, side]), tensor([side]))
      return of([x, y]) { solve(x + eye, y) }
    default:
      return of([]) { Tensor.normal([count], dtype: .float32) }
    }
  }
}

/// The `ops` command.
struct OperationsBenchmark {
  static let caseNames = FamilyCase.families

  let options: Options
  let report: Report

  func run(seconds: Double) throws(BenchError) {
    let families = Self.caseNames.filter { options.cases?.contains($0) ?? true }
    var body: [[String]] = []
    let share = seconds / Double(families.count * FamilyCase.counts.count)
    for family in families {
      for count in FamilyCase.counts {
        report.progress("ops: \(family) of \(count)")
        body.append(try measure(FamilyCase.make(family, count), seconds: share))
      }
    }
    report.line("Operations in float32, times of one call in us")
    report.table(
      ["operation", "elements", "forward", "min", "with gradients", "min", "kernels"], leading: 1,
      body)
    report.line()
    report.line("with gradients: of the sum of the results; none where there is no gradient")
    report.line("einsum, solve: square matrices of so many elements")
  }

  private func measure(_ item: FamilyCase, seconds: Double) throws(BenchError) -> [String] {
    func pass(_ pass: Pass) {
      let y = item.run()
      if pass == .forward {
        y.eval()
        return
      }
      y.sum().backward()
      eval([y] + item.parameters.map { $0.grad! })
    }
    var cells = [item.family, "\(item.count)"]
    var kernels = ""
    for kind in [Pass.forward, .train] {
      if kind == .train, item.parameters.isEmpty {
        cells += ["", ""]
        continue
      }
      let work: () -> Void = { pass(kind) }
      var row = ResultRow("W10", item.name)
      row.pass = kind.rawValue
      let mode = kind == .train ? Mode.guarded : .untracked
      row.mode = mode.rawValue
      var isFinite = false
      mode.run {
        isFinite = item.run().cast(to: .float64).sum().item().isFinite
        (row.firstNanoseconds, row.secondNanoseconds) = firstCalls(work)
        row.counters = PassCounters(work)
        row.samples =
          sampleInterleaved(
            [Variant { runs in for _ in 0..<runs { work() } }], seconds: seconds / 2)[0]
      }
      if !isFinite { throw .wrongResult("ops \(item.name): the result is not finite") }
      report.add(row)
      cells += [
        Format.microseconds(row.samples!.median), Format.microseconds(row.samples!.minimum),
      ]
      kernels = Format.count(row.counters!.kernels)
    }
    return cells + [kernels]
  }
}
