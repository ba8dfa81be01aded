// What the programs share: the numbers that Fixtures/generate.py computed with NumPy and JAX, and the
// formula that makes data and first weights there and here.

import Foundation
import LazyGrad
import Testing

/// The results of one program, by name.
struct Fixture {
  private struct Result: Decodable {
    let shape: [Int]
    let values: [Double]
  }

  private let results: [String: Result]

  init(_ program: String) throws {
    let file = URL(filePath: #filePath).deletingLastPathComponent()
      .appending(path: "Fixtures/programs.json")
    let programs = try JSONDecoder().decode(
      [String: [String: Result]].self, from: Data(contentsOf: file))
    results = try #require(programs[program])
  }

  func array(_ name: String) throws -> NDArray {
    let result = try #require(results[name], "no result \(name)")
    return NDArray(result.values, shape: result.shape)
  }

  /// Expects a tensor's shape to be that of a result, and its elements to be off by at most 1e-8 of the
  /// result's largest element.
  func expect(
    _ tensor: Tensor, _ name: String, sourceLocation: SourceLocation = #_sourceLocation
  ) throws {
    let result = try #require(results[name], "no result \(name)", sourceLocation: sourceLocation)
    #expect(tensor.shape == result.shape, sourceLocation: sourceLocation)
    let largest = result.values.reduce(0) { max($0, abs($1)) }
    let wrong = zip(tensor.elements(as: Double.self), result.values)
      .first { !(abs($0 - $1) <= 1e-8 * largest) }
    #expect(wrong == nil, "\(name)", sourceLocation: sourceLocation)
  }

  func expect(
    _ values: [Double], _ name: String, sourceLocation: SourceLocation = #_sourceLocation
  ) throws {
    try expect(Tensor(values), name, sourceLocation: sourceLocation)
  }
}

/// Numbers from -1 to 1 by a linear congruential generator, the same as in generate.py.
struct Noise {
  private var state: UInt64

  init(_ seed: UInt64) { state = seed }

  mutating func number() -> Double {
    state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
    return Double(state >> 11) * 0x1p-52 - 1
  }

  mutating func array(_ shape: Int..., scale: Double = 1) -> NDArray {
    let values = (0..<shape.reduce(1, *)).map { _ in number() * scale }
    return NDArray(values, shape: shape)
  }
}
