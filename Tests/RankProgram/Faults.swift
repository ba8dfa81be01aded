// Scenarios in which a rank misbehaves. Each has to end all ranks, soon, with a line that says why.

import Foundation
import LazyGrad

/// Two collectives in which nothing is wrong.
private func begin(_ run: Run) throws {
  for _ in 0..<2 { _ = try run.world.sum(Tensor.ones([10], dtype: .float32)) }
}

func otherCount(_ run: Run) throws {
  try begin(run)
  _ = try run.world.sum(Tensor.ones([run.isLast ? 999 : 1000], dtype: .float32))
}

func otherType(_ run: Run) throws {
  try begin(run)
  _ = try run.world.sum(Tensor.ones([1000], dtype: run.isLast ? .float64 : .float32))
}

func otherShape(_ run: Run) throws {
  try begin(run)
  _ = try run.world.sum(Tensor.ones(run.isLast ? [5, 200] : [1000], dtype: .float32))
}

func otherOperation(_ run: Run) throws {
  try begin(run)
  let x = Tensor.ones([1000], dtype: .float32)
  if run.isLast { try run.world.broadcast([x]) } else { _ = try run.world.sum(x) }
}

func earlyEnd(_ run: Run) throws {
  for step in 0..<4 {
    if run.isLast, step == 2 { break }
    _ = try run.world.mean(Tensor.ones([20], dtype: .float32))
  }
}

func nestedCollective(_ run: Run) throws {
  try run.world.onRoot { try run.world.barrier() }
}

func throwError(_ run: Run) throws {
  try begin(run)
  if run.isLast { throw Failed(description: "no such file as data-7.npz") }
  _ = try run.world.sum(Tensor.ones([10], dtype: .float32))
}

/// An operation that can't be carried out, on all ranks, inside a collective's evaluation or before.
func tensorError(_ run: Run) throws {
  try begin(run)
  try catchingTensorErrors { _ = Tensor.ones([2]) + Tensor.ones([3]) }
}

/// The last rank has no memory for what it is to add up, takes no notice, and asks for the same sum again, which the
/// others would take for the first one.
func lackOfMemory(_ run: Run) throws {
  try begin(run)
  let x =
    (Tensor.ones([1 << 20], dtype: .float32).cumsum() * 2).max()
    * Tensor.ones([10], dtype: .float32)
  if run.isLast {
    LazyGradEngine.setMemoryLimit(LazyGradEngine.bytesInUse + 1 << 16)
    do {
      _ = try run.world.sum(x)
      throw Failed(description: "there was memory")
    } catch let error as TensorError where error.cause == .outOfMemory {}
    LazyGradEngine.setMemoryLimit(1 << 40)
  }
  _ = try run.world.sum(x)
}

func trap(_ run: Run) throws {
  try begin(run)
  if run.isLast { fatalError("the last rank can't go on") }
  _ = try run.world.sum(Tensor.ones([10], dtype: .float32))
}

func callExit(_ run: Run) throws {
  try begin(run)
  if run.isLast { exit(0) }
  _ = try run.world.sum(Tensor.ones([10], dtype: .float32))
}

func killRank(_ run: Run) throws {
  try begin(run)
  if run.isLast { kill(getpid(), SIGKILL) }
  _ = try run.world.sum(Tensor.ones([10], dtype: .float32))
}

/// The last rank comes late, by as many seconds as the first argument says.
func stall(_ run: Run) throws {
  try begin(run)
  if run.isLast { sleep(UInt32(run.number(0, 3))) }
  _ = try run.world.sum(Tensor.ones([10], dtype: .float32))
  run.report("all there")
}

func noWeights(_ run: Run) throws { _ = try run.world.mean(Tensor.ones([10]), weight: 0) }

func rootError(_ run: Run) throws {
  try run.world.onRoot { throw Failed(description: "the disk is full") }
}

func unequalModels(_ run: Run) throws {
  let x = Tensor.ones([4, 4], dtype: .float32)
  if run.isLast { x[2, 3] = 1.0000001 }
  try run.world.requireEqual(["a": Tensor.ones([2]), "weight": x])
}

func runAgain(_ run: Run) throws { try run.world.barrier() }

/// A training in which a random rank does something wrong at a random step; arguments: a seed, and who it is.
func randomFault(_ run: Run) throws {
  let world = run.world
  let key = RandomKey(UInt64(run.number(0, 1)))
  let draws = Tensor.randint([3], 0, 1 << 30, key: key).elements(as: Int.self)
  let rank = draws[0] % world.size
  let step = draws[1] % 20
  let kinds = ["kill", "trap", "exit", "throw", "count", "type", "skip", "early", "broadcast"]
  let kind = kinds[draws[2] % kinds.count]
  run.report("rank \(rank), step \(step): \(kind)")
  let task = Learner()
  try world.broadcast(task)
  let optimizer = SGD(task, rate: 0.1)
  for current in 0..<24 {
    var results = task.results(Array(current..<current + 4))
    if world.rank == rank, current == step {
      switch kind {
      case "kill": kill(getpid(), SIGKILL)
      case "trap": fatalError("a fault at step \(step)")
      case "exit": exit(0)
      case "throw": throw Failed(description: "a fault at step \(step)")
      case "count": results.removeLast()
      case "type": results[0] = results[0].cast(to: .float64)
      case "skip": continue
      case "early": return
      default: try world.broadcast(task)
      }
    }
    let means = try world.mean(results, weight: 4)
    optimizer.step(Array(means.dropFirst()))
  }
  run.report("nobody has noticed")
}
