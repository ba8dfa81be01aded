// What a communicator does without a launcher: a world of one, which opens nothing.

import Foundation
import LazyGrad
import Testing

@Suite("World of one")
struct WorldOfOneTests {
  private struct Wrong: Error, Equatable {}

  /// Whatever launches the tests, these are about a world that nobody has launched.
  private func run<Result>(_ body: (Communicator) throws -> Result) throws -> Result {
    try Communicator.run(body)
  }

  @Test("There is one rank, and no library is opened")
  func properties() throws {
    let result = try run { world in
      #expect(world.rank == 0 && world.size == 1 && world.isRoot)
      #expect(world.localRank == 0 && world.localSize == 1 && world.library == nil)
      #expect(world.statistics.collectives == 0 && world.statistics.bytes == 0)
      return 7
    }
    #expect(result == 7)
    #if os(Linux)
      let maps = FileManager.default.contents(atPath: "/proc/self/maps") ?? Data()
      #expect(!String(decoding: maps, as: UTF8.self).contains("libmpi"))
    #endif
  }

  @Test("Errors are thrown as they are")
  func errors() {
    #expect(throws: Wrong()) { try run { _ in throw Wrong() } }
    #expect(throws: Wrong()) { try run { try $0.onRoot { throw Wrong() } } }
  }

  @Test("Sums and means are the values, in memory of their own")
  func sums() throws {
    try run { world in
      let types: [DType] = [.float32, .float64, .float16, .bfloat16, .int32, .int64, .uint8]
      let tensors = types.map { Tensor([[1, 2, 3], [4, 5, 250]]).cast(to: $0) }
      let sums = try world.sum(tensors)
      for (sum, tensor) in zip(sums, tensors) {
        #expect(sum.snapshot == tensor.snapshot && sum.isConstant && sum !== tensor)
        #expect(!sum.array.sharesMemory(with: tensor.array))
      }
      let means = try world.mean(Array(tensors.prefix(4)), weight: 0.3, order: .library)
      #expect(zip(means, tensors).allSatisfy { $0.snapshot == $1.snapshot })
      #expect(try world.sum([]).isEmpty)
      #expect(try world.sum(Tensor.zeros([0, 3])).shape == [0, 3])
      let column = Tensor([[1.0, 2], [3, 4]]).T[1]
      #expect(try world.sum(column).elements == [2, 4])
    }
  }

  /// Those of a program that are like the last ones are not looked at again.
  @Test("Sums of tensors in other shapes and types, in turns, more than are remembered")
  func sumsInTurns() throws {
    try run { world in
      let values = (0..<12).map(Double.init)
      for round in 0..<3 {
        for rows in 1...Communicator.mostSums + 2 {
          for type in [DType.float32, .float64] {
            let x = Tensor(values, shape: [12]).cast(to: type)[0..<(2 * rows)] + Double(round)
            for tensors in [[x.reshaped([rows, 2]), x[0]], [x.reshaped([2, rows]), x[1]], [x]] {
              let sums = try world.sum(tensors)
              let means = try world.mean(tensors, order: .library)
              for (tensor, results) in zip(tensors, zip(sums, means)) {
                for result in [results.0, results.1] {
                  #expect(result.shape == tensor.shape && result.dtype == type)
                  #expect(result.snapshot == tensor.snapshot)
                }
              }
            }
          }
        }
      }
    }
  }

  @Test("What is summed can be differentiated as before, and the sum is a constant")
  func gradients() throws {
    try run { world in
      let x = Tensor([1.0, 2])
      let y = (x * x).sum()
      let sum = try world.sum(y)
      #expect(sum.item() == 5 && sum.isConstant)
      y.backward()
      #expect(x.gradient.elements == [2, 4])
      // The result may be written, and is no part of anything.
      sum[.ellipsis] = 3
      #expect(y.item() == 5)
    }
  }

  @Test("What can't be summed or averaged is said")
  func refusals() throws {
    func message(_ body: (Communicator) throws -> Void) -> String {
      do {
        try run(body)
        return ""
      } catch { return "\(error)" }
    }
    #expect(
      message { _ = try $0.sum(Tensor([true, false])) }
        == "sum: expected numbers, got bool of shape [2]")
    #expect(
      message { _ = try $0.mean(Tensor([1, 2])) } == "mean: expected floats, got int64 of shape [2]"
    )
    #expect(
      message { _ = try $0.mean(Tensor([1.0]), weight: -1) }
        == "mean: expected a weight of 0 or more, got -1.0 on rank 0")
    #expect(
      message { _ = try $0.mean(Tensor([1.0]), weight: .nan) }
        == "mean: expected a weight of 0 or more, got nan on rank 0")
    #expect(
      message { _ = try $0.mean(Tensor([1.0]), weight: 0) }
        == "mean: expected a rank with a weight above 0, got 0 on all")
    #expect(
      message { _ = try $0.broadcast(1, from: 1) }
        == "broadcast: expected a root from 0 to 0, got 1")
    #expect(
      message { try $0.broadcast([Tensor([1.0])], from: -1) }
        == "broadcast: expected a root from 0 to 0, got -1")
    let error = #expect(throws: TensorError.self) {
      try catchingTensorErrors {
        let failed = Tensor([1.0, 2]) + Tensor([1.0, 2, 3])
        try run { world in
          do {
            _ = try world.sum(failed)
            Issue.record("a sum of what has failed")
          } catch is CommunicationError {}
        }
      }
    }
    #expect(error?.operation == "add")
  }

  #if os(Linux) || os(macOS)
    @Test("A lack of memory inside an evaluation is thrown")
    func memory() async {
      await #expect(processExitsWith: .success) {
        LazyGradEngine.setMemoryLimit(LazyGradEngine.bytesInUse + 1 << 16)
        let large = Tensor.ones([1 << 20]) * 2
        do {
          try Communicator.run { _ = try $0.sum(large) }
          preconditionFailure("a sum without memory")
        } catch { precondition((error as? TensorError)?.cause == .outOfMemory, "\(error)") }
      }
    }
  #endif

  @Test("Values, flags and models are what they are")
  func values() throws {
    try run { world in
      #expect(try world.broadcast("text") == "text")
      #expect(try world.gather([1.5, .nan]).count == 1)
      #expect(try world.any(true) && !world.any(false))
      try world.barrier()
      var ran = 0
      try world.onRoot { ran += 1 }
      #expect(ran == 1)
      let model = ["w": Tensor([1.0, 2])]
      try world.broadcast(model)
      try world.requireEqual(model)
      #expect(model["w"]?.elements == [1, 2])
    }
  }

  @Test("A shard of one is a permutation, another in each epoch and for each seed")
  func shards() throws {
    try run { world in
      let first = world.shard(50, epoch: 0, seed: 3)
      #expect(first.sorted() == Array(0..<50) && first != Array(0..<50))
      #expect(world.shard(50, epoch: 0, seed: 3) == first)
      #expect(world.shard(50, epoch: 1, seed: 3) != first)
      #expect(world.shard(50, epoch: 0, seed: 4) != first)
      #expect(world.shard(0).isEmpty && world.shard(1) == [0])
      #expect(world.part(of: 10) == 0..<10)
    }
  }

  @Test("Parts of any number of ranks cover the whole, and differ by one at most")
  func parts() {
    for size in 1...9 {
      for count in 0...40 {
        let parts = (0..<size).map { Communicator.part($0, of: count, among: size) }
        #expect(parts.flatMap { Array($0) } == Array(0..<count))
        #expect(parts.allSatisfy { $0.count == count / size || $0.count == count / size + 1 })
      }
    }
  }

  @Test("A mean over several calls is the weighted mean of all of them")
  func accumulator() throws {
    try run { world in
      let mean = world.mean(every: 3)
      #expect(try mean.rest() == nil)
      let a = Tensor([2.0, 4], dtype: .float32)
      let b = Tensor([1.0, 0], dtype: .float16)
      #expect(try mean.add([a, b], weight: 1) == nil)
      // What counts nothing may be anything.
      #expect(try mean.add([a * Float.nan, b], weight: 0) == nil)
      let means = try #require(try mean.add([a * 2, b * 5], weight: 3))
      #expect(means[0].elements == [3.5, 7] && means[0].dtype == .float32)
      #expect(means[1].elements == [4, 0] && means[1].dtype == .float16)
      #expect(try mean.rest() == nil)
      #expect(try mean.add([a], weight: 2) == nil)
      #expect(throws: CommunicationError.self) { try mean.add([Tensor([1.0])]) }
      #expect(try mean.rest()?[0].elements == [2, 4])
      #expect(throws: CommunicationError.self) { try mean.add([Tensor([1, 2])]) }
      #expect(throws: CommunicationError.self) { try mean.add([a], weight: -.infinity) }
    }
  }
}
