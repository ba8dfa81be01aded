// A training between two steps, as a file.

import Foundation
import LazyGrad

/// All that a training needs to go on: the network with the state of all streams, the optimiser's arrays and
/// steps, and what it was trained on. Ranks send it to each other.
struct Checkpoint: Codable {
  private let network: [String: TensorSnapshot]
  private let optimizer: OptimizerState
  private let settings: String
  private let text: String
  private static let state = "state"

  /// - Parameter state: What all streams have left, those of other ranks included.
  init(
    _ network: Network, state: Tensor, _ optimizer: Adam, _ corpus: Corpus, _ options: Options
  ) {
    var network = network.snapshots
    network[Self.state] = state.snapshot
    self.network = network
    self.optimizer = optimizer.state
    settings = options.settings
    text = Self.mark(of: corpus)
  }

  init(reading file: String) throws {
    let tensors = try SafeTensors(file)
    func part(_ prefix: String) throws -> [String: TensorSnapshot] {
      try tensors.names.filter { $0.hasPrefix(prefix) }.reduce(into: [:]) {
        $0[String($1.dropFirst(prefix.count))] = try tensors.snapshot($1)
      }
    }
    guard let step = tensors.metadata["step"].flatMap({ Int($0) }),
      let settings = tensors.metadata["settings"], let text = tensors.metadata["text"]
    else { throw Unusable(description: "'\(file)' is no checkpoint of this program") }
    network = try part("network.")
    optimizer = OptimizerState(stepCount: step, arrays: try part("optimizer."))
    (self.settings, self.text) = (settings, text)
  }

  /// Writes the file; if that is interrupted the old one is still there.
  func write(to file: String) throws {
    let arrays = [("network", network), ("optimizer", optimizer.arrays)].flatMap { part, arrays in
      arrays.map { ("\(part).\($0)", $1) }
    }
    let metadata = ["step": "\(optimizer.stepCount)", "settings": settings, "text": text]
    try SafeTensors.write(
      Dictionary(uniqueKeysWithValues: arrays), metadata: metadata, to: file)
  }

  /// - Parameter streams: Those of this rank.
  func restore(
    _ network: Network, streams: Range<Int>, _ optimizer: Adam, _ corpus: Corpus, _ options: Options
  ) throws {
    if settings != options.settings {
      throw Unusable(
        description: "the checkpoint is of a training with \(settings), not \(options.settings)")
    }
    if text != Self.mark(of: corpus) {
      throw Unusable(description: "the checkpoint is of a training on another text")
    }
    var values = self.network
    if let state = values[Self.state], state.shape.first == options.streams {
      values[Self.state] = Tensor(sharing: state)[streams].snapshot
    }
    try network.load(values)
    try optimizer.load(self.optimizer)
  }

  /// A number that another text hardly has (Fowler, Noll and Vo's hash FNV-1a).
  private static func mark(of corpus: Corpus) -> String {
    let text = corpus.text(of: corpus.trained + corpus.heldOut)
    return
      "\(text.utf8.reduce(0xcbf2_9ce4_8422_2325 as UInt64) { ($0 ^ UInt64($1)) &* 0x100_0000_01b3 })"
  }
}
