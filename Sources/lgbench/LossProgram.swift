// Programs that are a loss and what it is differentiated by, and how they are timed. Uses the public interface,
// Timing and Report.

import LazyGrad

/// A loss and what it is differentiated by.
struct LossProgram {
  let name: String
  /// What it must give: the loss, and the norm of all gradients together.
  let expected: (loss: Double, norm: Double)
  let parameters: [Tensor]
  let loss: () -> Tensor
}

extension Pass {
  /// Runs this pass: the loss is recorded, then it alone is evaluated, or with the gradients of `parameters`.
  func run(_ loss: () -> Tensor, _ parameters: [Tensor]) -> Tensor {
    let loss = loss()
    if self == .train {
      loss.backward()
      eval([loss] + parameters.map { $0.grad! })
    } else {
      loss.eval()
    }
    return loss
  }
}

/// Times the passes of some programs: the `small` and the `irregular` command.
struct LossBenchmark {
  let workload: String
  /// What the table is of.
  let title: String
  let programs: [LossProgram]
  let options: Options
  let report: Report

  func run(seconds: Double) throws(BenchError) {
    let programs = self.programs.filter { options.cases?.contains($0.name) ?? true }
    var body: [[String]] = []
    for program in programs {
      report.progress("\(workload): \(program.name)")
      body += try measure(program, seconds: seconds / Double(programs.count))
    }
    report.line("\(title), times of one pass in us")
    report.table(
      ["program", "pass", "mode", "median", "min", "loss", "gradient norm", "kernels"], leading: 3,
      body)
  }

  private func measure(_ program: LossProgram, seconds: Double) throws(BenchError) -> [[String]] {
    var body: [[String]] = []
    for kind in [Pass.forward, .train] {
      let pass = { kind.run(program.loss, program.parameters) }
      let work: () -> Void = { _ = pass() }
      var row = ResultRow(workload, program.name)
      row.pass = kind.rawValue
      let mode = kind == .train ? Mode.guarded : .untracked
      row.mode = mode.rawValue
      var norm: Double?
      mode.run {
        row.loss = pass().item()
        if kind == .train {
          let squares = program.parameters.map { square($0.grad!.cast(to: .float64)).sum() }
          norm = squares.dropFirst().reduce(squares[0], +).item().squareRoot()
          row.extra = [("gradient_norm", .number(norm!))]
        }
        (row.firstNanoseconds, row.secondNanoseconds) = firstCalls(work)
        row.counters = PassCounters(work)
        row.samples =
          sampleInterleaved(
            [Variant { runs in for _ in 0..<runs { work() } }], seconds: seconds / 2)[0]
      }
      for (what, got, expected) in [
        ("loss", row.loss, program.expected.loss),
        ("gradient norm", norm, program.expected.norm),
      ] {
        guard let got, !(abs(got - expected) <= 1e-5 * max(abs(expected), 1)) else { continue }
        throw .wrongResult(
          "\(workload) \(program.name) \(kind.rawValue): the \(what) is \(got), expected \(expected)"
        )
      }
      report.add(row)
      body.append([
        program.name, kind.rawValue, mode.rawValue, Format.microseconds(row.samples!.median),
        Format.microseconds(row.samples!.minimum), Format.fixed(row.loss!, 6),
        norm.map { Format.fixed($0, 6) } ?? "", Format.count(row.counters!.kernels),
      ])
    }
    return body
  }
}
