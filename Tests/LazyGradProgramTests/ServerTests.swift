// A server: tasks answer requests side by side from one set of weights, refuse bad requests and go on,
// and new weights come in meanwhile.

import Foundation
import LazyGrad
import Testing

private struct Answer {
  let version: Int
  let chances: [Double]
}

/// What is kept in a file, and shared by the tasks.
private struct Model: Codable, Sendable {
  let version: Int
  let hidden, bias, output: TensorSnapshot

  init(version: Int) {
    self.version = version
    var noise = Noise(6 + UInt64(version))
    hidden = Tensor(noise.array(4, 8)).snapshot
    bias = Tensor(noise.array(8)).snapshot
    output = Tensor(noise.array(8, 3)).snapshot
  }

  func answer(_ request: [Double]) throws -> Answer {
    let chances = try catchingTensorErrors {
      noAutodiff {
        let h = tanh(matmul(Tensor(request), Tensor(sharing: hidden)) + Tensor(sharing: bias))
        return softmax(matmul(h, Tensor(sharing: output))).elements(as: Double.self)
      }
    }
    return Answer(version: version, chances: chances)
  }
}

private actor Server {
  private var model: Model

  init(_ model: Model) { self.model = model }

  /// Takes a file's model, unless the file is damaged.
  func reload(_ file: Data) throws { model = try JSONDecoder().decode(Model.self, from: file) }

  /// Only the model is the actor's: the task that asks computes.
  nonisolated func reply(to request: [Double]) async -> Result<Answer, any Error> {
    let model = await model
    return Result { try model.answer(request) }
  }

  /// The replies to requests that come all at once.
  nonisolated func replies(to requests: [[Double]]) async -> [Result<Answer, any Error>] {
    await withTaskGroup(of: (Int, Result<Answer, any Error>).self) { group in
      for (i, request) in requests.enumerated() {
        group.addTask { (i, await self.reply(to: request)) }
      }
      let replies = await group.reduce(into: [:]) { $0[$1.0] = $1.1 }
      return requests.indices.compactMap { replies[$0] }
    }
  }
}

@Suite struct ServerTests {
  /// Every seventh request has five numbers instead of four, and others have none.
  private static func length(_ i: Int) -> Int { i % 7 == 3 ? 5 : i % 7 == 5 ? 0 : 4 }

  private func check(_ replies: [Result<Answer, any Error>], versions: Set<Int>) throws {
    let fixture = try Fixture("server")
    let right = [1: try fixture.array("answers1"), 2: try fixture.array("answers2")]
    #expect(replies.count == 40)
    for (i, reply) in replies.enumerated() {
      switch reply {
      case .success(let answer):
        #expect(Self.length(i) == 4 && versions.contains(answer.version))
        #expect(answer.chances.count == 3)
        let expected = try #require(right[answer.version])[i]
        #expect(Tensor(answer.chances).allClose(to: expected, relative: 1e-8, absolute: 0))
      case .failure(let error):
        #expect(Self.length(i) != 4)
        #expect("\(error)".hasPrefix("matmul: inner dimensions differ: [\(Self.length(i))]"))
      }
    }
  }

  @Test func answersAndReloads() async throws {
    let requests = (0..<40).map { i in (0..<Self.length(i)).map { sin(Double(i + $0)) } }
    let server = Server(Model(version: 1))
    try check(await server.replies(to: requests), versions: [1])

    let file = try JSONEncoder().encode(Model(version: 2))
    await #expect(throws: DecodingError.self) { try await server.reload(file.dropLast(9)) }
    try check(await server.replies(to: requests), versions: [1])

    async let meanwhile = server.replies(to: requests)
    try await server.reload(file)
    try check(await meanwhile, versions: [1, 2])
    try check(await server.replies(to: requests), versions: [2])
  }
}
