// W9: what programs do with a handful of numbers: an attention block, a layer norm, a step of a Kalman
// filter. Nearly all of the time is recording, planning and starting. Uses the public interface,
// RandomState, Timing and Report.

import LazyGrad

/// One of the small programs: a loss and what it is differentiated by.
private struct SmallProgram {
  let name: String
  /// The loss and the norm of all gradients together, from a double precision NumPy program over the same
  /// single precision data, the gradients by central differences.
  let expected: (loss: Double, norm: Double)
  let parameters: [Tensor]
  let loss: () -> Tensor

  static let names = ["attention", "layerNorm", "kalman"]

  static func all() -> [SmallProgram] { [attention(), layerNorm(), kalman()] }

  private static func tensors(
    _ random: inout RandomState, _ shapes: [[Int]], constant: Bool = false
  ) -> [Tensor] {
    shapes.map { shape in
      Tensor(
        NDArray(random.normals(shape.reduce(1, *)) { 0.5 * $0 }, shape: shape), constant: constant)
    }
  }

  /// Four positions of width 8, one head.
  private static func attention() -> SmallProgram {
    var random = RandomState(seed: 5)
    let inputs = tensors(&random, [[4, 8], [4, 8]], constant: true)
    let weights = tensors(&random, [[8, 8], [8, 8], [8, 8], [8, 8]])
    return SmallProgram(
      name: "attention", expected: (0.37587989772709873, 0.5880044920214988), parameters: weights
    ) {
      let (x, target) = (inputs[0], inputs[1])
      let (q, k, v) = (
        matmul(x, weights[0]), matmul(x, weights[1]), matmul(x, weights[2])
      )
      let shares = softmax(matmul(q, k.transposed()) * 0.3535533905932738)
      let y = matmul(matmul(shares, v), weights[3])
      return square(y - target).mean()
    }
  }

  /// Four rows of 16.
  private static func layerNorm() -> SmallProgram {
    var random = RandomState(seed: 6)
    let weight = tensors(&random, [[4, 16]], constant: true)[0]
    let parameters = tensors(&random, [[4, 16], [16], [16]])
    return SmallProgram(
      name: "layerNorm", expected: (3.5651125931776693, 7.143949716683266), parameters: parameters
    ) {
      let (x, gain, bias) = (parameters[0], parameters[1], parameters[2])
      let d = x - x.mean(axis: 1, keepDims: true)
      let y = d / sqrt(square(d).mean(axis: 1, keepDims: true) + 1e-5) * gain + bias
      return (y * weight).sum()
    }
  }

  /// A state of four numbers, of which one measurement sees a combination; the loss is its negative log
  /// likelihood and how far the state has moved.
  private static func kalman() -> SmallProgram {
    var random = RandomState(seed: 7)
    let inputs = tensors(&random, [[1, 4], [4, 1], [4, 4], [1, 1]], constant: true)
    let parameters = tensors(&random, [[4, 4], [4]])
    return SmallProgram(
      name: "kalman", expected: (5.697411757149011, 8.165904501951351), parameters: parameters
    ) {
      let (h, x, root, z) = (inputs[0], inputs[1], inputs[2], inputs[3])
      let (f, noise) = (parameters[0], parameters[1])
      let before = matmul(f, x)
      let p = matmul(matmul(f, matmul(root, root.transposed())), f.transposed()) + square(noise)
      let ph = matmul(p, h.transposed())
      let s = matmul(h, ph) + 0.1
      let y = z - matmul(h, before)
      let gain = ph / s
      let after = before + gain * y
      let covariance = p - matmul(gain, ph.transposed())
      return (0.5 * (square(y) / s + log(s))).sum() + square(after).sum() + covariance.sum()
    }
  }
}

/// The `small` command.
struct SmallBenchmark {
  static let caseNames = SmallProgram.names

  let options: Options
  let report: Report

  func run(seconds: Double) throws(BenchError) {
    let programs = SmallProgram.all().filter { options.cases?.contains($0.name) ?? true }
    var body: [[String]] = []
    for program in programs {
      report.progress("small: \(program.name)")
      body += try measure(program, seconds: seconds / Double(programs.count))
    }
    report.line("Programs on 4 to 64 numbers, times of one pass in us")
    report.table(
      ["program", "pass", "mode", "median", "min", "loss", "gradient norm", "kernels"], leading: 3,
      body)
  }

  private func measure(_ program: SmallProgram, seconds: Double) throws(BenchError) -> [[String]] {
    func pass(_ pass: Pass) -> Tensor {
      let loss = program.loss()
      if pass == .train {
        loss.backward()
        eval([loss] + program.parameters.map { $0.grad! })
      } else {
        loss.eval()
      }
      return loss
    }
    var body: [[String]] = []
    for kind in [Pass.forward, .train] {
      let work: () -> Void = { _ = pass(kind) }
      var row = ResultRow("W9", program.name)
      row.pass = kind.rawValue
      let mode = kind == .train ? Mode.guarded : .untracked
      row.mode = mode.rawValue
      var norm: Double?
      mode.run {
        row.loss = pass(kind).item()
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
          "small \(program.name) \(kind.rawValue): the \(what) is \(got), expected \(expected)")
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
