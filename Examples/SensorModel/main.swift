// Two sensors watch a swinging mass. A Kalman filter says where it is, and what moves it and how much the
// sensors err is fitted to the readings by gradient:
//     swift run -c release SensorModel --svg sensor.svg
// See Options.swift for what can be said.

import Foundation
import LazyGrad

/// A damped oscillator that is pushed at random, and two sensors: one for its position, one for its velocity over
/// the frequency. All five numbers are positive, so their logarithms are fitted, which may be any numbers.
struct Oscillator: Parameterized {
  static let names = ["damping", "frequency", "push", "position noise", "velocity noise"]
  let logarithms: Tensor

  init(_ numbers: [Double]) { logarithms = Tensor(numbers.map { log($0) }) }

  /// What a filter says of the mass after each reading, and how likely it makes the readings.
  struct Track {
    /// The negative logarithm of the likelihood of all readings.
    let loss: Tensor
    /// Position and velocity, `[T, 2]`.
    let means: Tensor
    /// What they may be off, `[T, 2, 2]`.
    let covariances: Tensor
  }

  /// Kalman's filter (A New Approach to Linear Filtering and Prediction Problems, 1960). From one reading to the
  /// next the state turns by the frequency and shrinks by the damping.
  func track(_ readings: [Reading?]) -> Track {
    let number = exp(logarithms)
    let (c, s) = (cos(number[1]), sin(number[1]))
    let move = exp(-number[0]) * stack(stack(c, s), stack(-s, c))
    let unit = Tensor.eye(2, constant: true)
    let push = square(number[2]) * unit
    let noise = square(number[3...]) * unit

    var mean = Tensor.zeros([2], constant: true)
    var covariance = unit
    var loss: [Tensor] = []
    var (means, covariances): ([Tensor], [Tensor]) = ([], [])
    for (t, reading) in readings.enumerated() {
      if t > 0 {
        mean = matmul(move, mean)
        covariance = matmul(matmul(move, covariance), move.T) + push
      }
      // Where nothing was read, the state only becomes less certain.
      if let reading {
        // With L Lᵀ the covariance of the reading that is expected, solving by L turns its error into two
        // independent numbers of variance 1.
        let lower = cholesky(covariance + noise)
        let error = triangularSolve(lower, reading.values - mean)
        let gain = triangularSolve(lower, covariance)
        mean = mean + matmul(error, gain)
        covariance = covariance - matmul(gain.T, gain)
        loss.append(square(error).sum() / 2 + log(lower.diagonal()).sum() + log(2 * Double.pi))
      }
      means.append(mean)
      covariances.append(covariance)
    }
    return Track(
      loss: addSequence(loss), means: stack(means), covariances: stack(covariances))
  }

  /// Brings the numbers to where the readings are likeliest. How often that computed the loss.
  func fit(_ readings: [Reading?], steps: Int) -> Int {
    let optimizer = LBFGS(self, iterations: 1, lineSearch: .strongWolfe)
    let progress = TrainingProgress(steps: nil, logEvery: 5)
    var before = Double.infinity
    for _ in 0..<steps {
      let loss = optimizer.step { track(readings).loss }.item()
      progress.update(loss: loss)
      if before - loss < 1e-9 * Swift.abs(loss) { break }
      before = loss
    }
    progress.finish()
    return optimizer.evaluationCount
  }

  /// How far each logarithm may be off: the root of the diagonal of the inverse second derivatives of the loss.
  func standardErrors(_ readings: [Reading?]) -> [Double] {
    let slope = gradients(
      of: track(readings).loss, withRespectTo: [logarithms], createGraph: true)[0]
    let rows = (0..<slope.count).map { gradients(of: slope[$0], withRespectTo: [logarithms])[0] }
    return sqrt(inverse(stack(rows)).diagonal()).elements
  }
}

/// What both sensors say at one time.
struct Reading {
  let values: Tensor
}

let options = Options(CommandLine.arguments)
do {
  let record = try Record(options)
  let readings = record.readings.map { $0.map { Reading(values: Tensor($0, constant: true)) } }
  let model = Oscillator([0.05, 2 * .pi / options.period, 0.5, 1, 1])
  let evaluations = model.fit(readings, steps: options.steps)
  let errors = model.standardErrors(readings)
  let track = noAutodiff { model.track(readings) }
  eval(track.loss, track.means, track.covariances)

  let silent = readings.count { $0 == nil }
  print("\(readings.count) readings of two sensors, \(silent) of them missing")
  print(String(format: "negative log-likelihood %.4f", track.loss.item()))
  note("\(evaluations) evaluations of the likelihood and its gradient")
  if !errors.allSatisfy(\.isFinite) {
    note("the likelihood has no maximum here: no intervals; another --period may lead to one")
  }
  let heading = "\nparameter           fitted      95 % interval"
  print(heading + (record.parameters == nil ? "" : "        true"))
  for (i, name) in Oscillator.names.enumerated() {
    let value = model.logarithms[i].item()
    let (low, high) = (exp(value - 1.96 * errors[i]), exp(value + 1.96 * errors[i]))
    let truth = record.parameters.map {
      String(format: "%12.4f%@", $0[i], $0[i] < low || $0[i] > high ? "  outside" : "")
    }
    let padded = name.padding(toLength: 16, withPad: " ", startingAt: 0)
    print(padded + String(format: "%10.4f%10.4f ...%7.4f", exp(value), low, high) + (truth ?? ""))
  }

  let means = track.means.T.elements
  let variances = track.covariances.diagonal(axis1: 1, axis2: 2).T.elements
  let panels = ["position", "velocity / frequency"].enumerated().map { axis, title in
    let part = axis * readings.count..<(axis + 1) * readings.count
    return Panel(
      title: title, dots: record.readings.map { $0?[axis] }, line: Array(means[part]),
      deviation: variances[part].map { $0.squareRoot() },
      truth: record.states.map { $0.map { $0[axis] } })
  }
  if record.states != nil {
    print("\nagainst the truth    sensor rms   filter rms   truth in the 2-sigma band")
    for panel in panels {
      let padded = panel.title.padding(toLength: 20, withPad: " ", startingAt: 0)
      print(
        padded
          + String(
            format: "%11.4f%13.4f%21.1f %%", panel.rootMeanSquare(of: panel.dots),
            panel.rootMeanSquare(of: panel.line), 100 * panel.coverage))
    }
  }
  if let file = options.svg {
    let title = "Readings of two sensors, and what a fitted Kalman filter makes of them"
    do {
      try Plot(title: title, panels: panels).text.write(
        toFile: file, atomically: true, encoding: .utf8)
    } catch { stop("can't write '\(file)': \(error.localizedDescription)", status: 1) }
    note("the picture is in \(file)")
  }
} catch { stop("\(error)", status: 1) }
