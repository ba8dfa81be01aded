// Scenarios in which all goes well, and what they check.

import Foundation
import LazyGrad

func require(_ condition: Bool, _ text: @autoclosure () -> String) throws {
  if !condition { throw Failed(description: text()) }
}

struct Failed: Error, CustomStringConvertible {
  let description: String
}

/// A hash of a model's bits (Fowler, Noll and Vo's FNV-1a), not the library's own.
func mark(_ tensors: [Tensor]) -> String {
  var hash: UInt64 = 0xcbf2_9ce4_8422_2325
  for tensor in tensors {
    for byte in tensor.snapshot.bytes { hash = (hash ^ UInt64(byte)) &* 0x100_0000_01b3 }
  }
  return String(hash, radix: 16)
}

func hello(_ run: Run) throws {
  let world = run.world
  let lines = try world.gather(
    "rank \(world.rank) of \(world.size), \(world.localRank) of \(world.localSize) here, "
      + "threads \(LazyGradEngine.threads)")
  for line in lines { run.report(line) }
  run.report("over \(world.library ?? "nothing")")
}

func checkValues(_ run: Run) throws {
  let world = run.world
  try world.barrier()
  let root = world.size - 1
  let text = try world.broadcast("from \(world.rank), \u{1F600}", from: root)
  try require(text == "from \(root), \u{1F600}", "broadcast of a text gave \(text)")
  let numbers = try world.broadcast([Double(world.rank), .infinity, 0.1, .pi])
  try require(numbers == [0, .infinity, 0.1, .pi], "broadcast of numbers gave \(numbers)")
  let long = try world.broadcast(world.isRoot ? Array(0..<500_000) : [])
  try require(long == Array(0..<500_000), "broadcast of a long list")
  let all = try world.gather(Array(repeating: world.rank, count: world.rank * 3))
  try require(
    all == (0..<world.size).map { Array(repeating: $0, count: $0 * 3) }, "gather gave \(all)")
  try require(try world.any(run.isLast), "any of one")
  try require(try !world.any(false), "any of none")
  var ran = false
  try world.onRoot { ran = true }
  try require(ran == world.isRoot, "onRoot ran on rank \(world.rank)")
  let parts = try world.gather(world.shard(101, epoch: 3, seed: 5))
  try require(parts.flatMap { $0 }.sorted() == Array(0..<101), "shards overlap or have holes")
  try require(parts.flatMap { $0 } != Array(0..<101), "shards are in order")
  try require(Set(parts.map(\.count)).count <= 2, "shards of different lengths")
  let ranges = try world.gather([world.part(of: 10).lowerBound, world.part(of: 10).upperBound])
  try require(
    ranges.first?[0] == 0 && ranges.last?[1] == 10, "parts don't cover the whole: \(ranges)")
  run.report("values agree")
}

/// Numbers of a rank, which any rank can make.
private func numbers(_ count: Int, _ dtype: DType, of rank: Int) -> Tensor {
  let key = RandomKey(77).folded(in: UInt64(rank))
  if dtype.isFloating { return Tensor.normal([count], dtype: .float64, key: key).cast(to: dtype) }
  return Tensor.randint([count], 0, 200, key: key).cast(to: dtype)
}

func checkSums(_ run: Run) throws {
  let world = run.world
  let types: [DType] = [.float32, .float64, .int32, .int64, .float16, .bfloat16, .uint8]
  var all: [Tensor] = []
  for count in [0, 1, 2, 1000, 30_001] {
    for dtype in types {
      let sum = try world.sum(numbers(count, dtype, of: world.rank))
      // What is added up is what travels.
      let wide: DType = dtype == .float16 || dtype == .bfloat16 ? .float32 : dtype
      var expected = numbers(count, dtype, of: 0).cast(to: wide)
      for other in 1..<max(world.size, 1) {
        expected = expected + numbers(count, dtype, of: other).cast(to: wide)
      }
      try require(
        sum.snapshot == expected.cast(to: dtype).snapshot,
        "the sum of \(count) \(dtype) is not that in the order of ranks")
      let other = try world.sum(numbers(count, dtype, of: world.rank), order: .library)
      if count > 0, !sum.isConstant { throw Failed(description: "sums are constants") }
      let limit = dtype == .bfloat16 ? 0.1 : dtype == .float16 ? 0.02 : 1e-5
      let near = zip(other.elements, sum.elements).allSatisfy { (a: Double, b: Double) in
        abs(a - b) <= limit
      }
      try require(near, "the library's sum of \(count) \(dtype) is another")
      all.append(sum)
    }
  }
  // Several types and shapes at once, one of them beyond what goes at a time.
  func long(_ rank: Int) -> Tensor {
    Tensor.arange(9_000_001.0, dtype: .float32) * Float(rank + 1) / 3
  }
  let many = [
    long(world.rank), numbers(6, .int64, of: world.rank),
    numbers(6, .float32, of: world.rank).reshaped(2, 3),
  ]
  let sums = try world.sum(many)
  try require(sums.map(\.shape) == [[9_000_001], [6], [2, 3]], "shapes \(sums.map(\.shape))")
  var expected = long(0)
  for other in 1..<max(world.size, 1) { expected = expected + long(other) }
  try require(sums[0].snapshot == expected.snapshot, "the sum of 9000001 float32")
  all += sums.dropFirst()
  let weights = [5.0, 0, 11, 2]
  let weight = weights[world.rank % 4]
  let own = weight == 0 ? Tensor.full([3], Float.nan) : Tensor.full([3], Float(world.rank + 1))
  let mean = try world.mean(own, weight: weight)
  var (top, bottom) = (0.0, 0.0)
  for other in 0..<world.size {
    top += weights[other % 4] * Double(other + 1)
    bottom += weights[other % 4]
  }
  let error: Double = mean.elements[0] - top / bottom
  try require(abs(error) < 1e-6, "a weighted mean of \(mean)")
  try checkRepeatedSums(world)
  try world.requireEqual(all + [sums[0], mean])
  run.report("sums \(mark(all + [mean]))")
}

/// Small sums that come again travel with the agreement, with others in between too: to the same bits.
private func checkRepeatedSums(_ world: Communicator) throws {
  func mean(_ weights: [Double], _ dtype: DType, of count: Int) throws -> Tensor {
    let weight = weights[world.rank % weights.count]
    let own = numbers(count, dtype, of: world.rank)
    return try world.mean(weight == 0 ? Tensor.full(like: own, Float.nan) : own, weight: weight)
  }
  for dtype in [DType.float32, .float64, .bfloat16] {
    for count in [1, 7, 600, 40_000] {
      for weights in [[1.0], [3, 5], [2, 0, 1], [world.size == 1 ? 1 : 0, 7]] {
        let first = try mean(weights, dtype, of: count)
        try world.barrier()
        for round in 0..<5 {
          let before = world.statistics
          let again = try mean(weights, dtype, of: count)
          try require(again.snapshot == first.snapshot, "a mean of \(count) \(dtype), \(weights)")
          let after = world.statistics
          try require(after.bytes > before.bytes, "a mean sends bytes")
          // The first one after another collective is sent by itself, as is one that is not small.
          let isCarried = round > 0 && round != 3 && count < 1000
          try require(
            world.size == 1 || isCarried == (after.transferSeconds == before.transferSeconds),
            "a mean of \(count) \(dtype), round \(round): by itself or not")
          if round == 2 { try world.requireEqual([first]) }
        }
      }
    }
  }
  for dtype in [DType.int32, .int64] {
    let own = numbers(100, dtype, of: world.rank)
    let sums = try (0..<3).map { _ in try world.sum([own, own[0..<2]]) }
    try require(
      sums.allSatisfy { $0[0].snapshot == sums[0][0].snapshot && $0[1].count == 2 }, "\(dtype)")
  }
}

func checkBroadcast(_ run: Run) throws {
  let world = run.world
  let root = world.size - 1
  let key = RandomKey(UInt64(world.rank))
  let model: [Tensor] = [
    .normal([40, 3], dtype: .float32, key: key), .normal([7], dtype: .float16, key: key),
    Tensor([world.rank == 1, true, false]), Tensor([world.rank, 5]), .zeros([0]),
    Tensor.arange(9_000_000.0, dtype: .float32) * Float(world.rank + 1),
  ]
  let objects = model.map(ObjectIdentifier.init)
  try world.broadcast(model, from: root)
  try require(model.map(ObjectIdentifier.init) == objects && !model[0].isConstant, "other objects")
  try require(model[3].elements(as: Int.self) == [root, 5], "\(model[3]) is not rank \(root)'s")
  try world.requireEqual(model)
  run.report("broadcast \(mark(Array(model.dropLast())))")
}
