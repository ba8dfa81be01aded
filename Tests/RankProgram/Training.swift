// A small network that ranks train together, against the same network trained by one process on joint batches.

import Foundation
import LazyGrad

/// A network with data that it can learn.
struct Learner: Parameterized {
  static let rows = 320
  let hidden: Dense
  let output: Dense
  private let inputs: NDArray
  private let labels: NDArray

  var namedTensors: [NamedTensor] {
    hidden.namedTensors(under: "hidden") + output.namedTensors(under: "output")
  }

  init(seed: UInt64 = 1) {
    let keys = RandomKey(seed).split(2)
    hidden = Dense(8, 32, dtype: .float32, key: keys[0])
    output = Dense(32, 3, dtype: .float32, key: keys[1])
    let x = Tensor.normal([Self.rows, 8], dtype: .float32, key: RandomKey(9))
    inputs = x.array
    labels = NDArray(
      (0..<Self.rows).map { row in
        let values = x.array[row].elements(as: Double.self)
        return values[0] > 0.5 ? 2 : values[1] + values[2] > 0 ? 1 : 0
      })
  }

  /// The mean loss of some rows, and its gradients.
  func results(_ rows: [Int]) -> [Tensor] {
    // There is no mean of nothing: what a rank without rows gives has the shapes, and no weight.
    if rows.isEmpty {
      return [Tensor.zeros([], dtype: .float32)] + parameters.map { .full(like: $0, Float.nan) }
    }
    let scores = output(tanh(hidden(Tensor(inputs[rows], constant: true))))
    let loss = softmaxCrossEntropy(scores, labels[rows])
    return [loss] + gradients(of: loss, withRespectTo: parameters)
  }
}

/// The rows of a step, the same for all.
private func batch(_ step: Int) -> [Int] { (0..<16).map { (step * 16 + $0) % Learner.rows } }

/// Which of a batch's rows a rank has; unevenly: 5, 0 and 11.
private func ownRows(_ world: Communicator, _ rows: [Int], uneven: Bool) -> [Int] {
  if !uneven { return Array(rows[world.part(of: rows.count)]) }
  let ends = [0, 5, 5, 16]
  return world.rank < 3 ? Array(rows[ends[world.rank]..<ends[world.rank + 1]]) : []
}

/// Trains on all ranks, and alone; arguments: `even` or `uneven`, and how many steps.
func train(_ run: Run) throws {
  let (world, steps) = (run.world, run.number(1, 60))
  let uneven = run.arguments.first == "uneven"
  let task = Learner(seed: UInt64(world.rank + 1))
  try world.broadcast(task)
  let optimizer = SGD(task, rate: 0.1, momentum: 0.9)
  var losses: [Double] = []
  for step in 0..<steps {
    let rows = ownRows(world, batch(step), uneven: uneven)
    let means = try world.mean(task.results(rows), weight: Double(rows.count))
    optimizer.step(Array(means.dropFirst()))
    losses.append(means[0].item())
  }
  try world.requireEqual(task)
  let alone = Learner(seed: 1)
  let other = SGD(alone, rate: 0.1, momentum: 0.9)
  var difference = 0.0
  for step in 0..<steps {
    let results = alone.results(batch(step))
    other.step(Array(results.dropFirst()))
    let apart: Double = results[0].item() - losses[step]
    difference = max(difference, abs(apart) / losses[step])
  }
  difference = max(difference, distance(task, alone))
  run.report(
    "loss \(losses[0]) to \(losses[steps - 1]), difference from one process \(difference)")
  run.report("parameters \(mark(task.parameters))")
  try require(difference < 1e-6, "it is too far from training in one process: \(difference)")
}

/// The distance of two models' parameters, relative to their length.
private func distance(_ a: Learner, _ b: Learner) -> Double {
  var (apart, length) = (0.0, 0.0)
  for (x, y) in zip(a.parameters, b.parameters) {
    for (p, q) in zip(x.elements, y.elements) {
      apart += (p - q) * (p - q)
      length += q * q
    }
  }
  return (apart / length).squareRoot()
}

/// Communicates every third time: one step by three batches is one by all their rows.
func trainEvery(_ run: Run) throws {
  let world = run.world
  let task = Learner()
  let optimizer = SGD(task, rate: 0.1)
  let mean = world.mean(every: 3)
  var steps = 0
  for step in 0..<32 {
    let rows = ownRows(world, batch(step), uneven: world.size == 3)
    if let means = try mean.add(task.results(rows), weight: Double(rows.count)) {
      optimizer.step(Array(means.dropFirst()))
      steps += 1
    }
  }
  if let means = try mean.rest() {
    optimizer.step(Array(means.dropFirst()))
    steps += 1
  }
  try world.requireEqual(task)
  let alone = Learner()
  let other = SGD(alone, rate: 0.1)
  for step in stride(from: 0, to: 32, by: 3) {
    let rows = (step..<min(step + 3, 32)).flatMap(batch)
    other.step(Array(alone.results(rows).dropFirst()))
  }
  let difference = distance(task, alone)
  run.report("\(steps) steps, difference from one process \(difference)")
  try require(steps == 11 && difference < 1e-6, "mean(every:) is another training")
}

/// What `mean` takes beyond evaluating and the collective itself.
func measureOverhead(_ run: Run) throws {
  let world = run.world
  let counts = run.arguments.compactMap { Int($0) }
  let tensors = counts.map { Tensor.normal([$0], dtype: .float32, key: RandomKey(UInt64($0))) }
  eval(tensors)
  for _ in 0..<100 { _ = try world.mean(tensors) }
  let before = world.statistics
  let begin = Date()
  let times = 2000
  for _ in 0..<times { _ = try world.mean(tensors) }
  let whole = Date().timeIntervalSince(begin) / Double(times) * 1e6
  let after = world.statistics
  let transfer = (after.transferSeconds - before.transferSeconds) / Double(times) * 1e6
  let waiting = (after.waitingSeconds - before.waitingSeconds) / Double(times) * 1e6
  run.report("mean \(whole) us, of which transfer \(transfer) and agreement \(waiting)")
}
