// A training between two steps, as a file.

import Foundation
import LazyGrad

/// All that a training needs to go on: the network with the state of its streams, the optimiser's arrays and
/// steps, and what it was trained on.
struct Checkpoint {
  private let network: [String: TensorSnapshot]
  private let optimizer: OptimizerState
  private let settings: String
  private let text: String

  init(_ network: Network, _ optimizer: Adam, _ corpus: Corpus, _ options: Options) {
    self.network = network.snapshots
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

  func restore(
    _ network: Network, _ optimizer: Adam, _ corpus: Corpus, _ options: Options
  ) throws {
    if settings != options.settings {
      throw Unusable(
        description: "the checkpoint is of a training with \(settings), not \(options.settings)")
    }
    if text != Self.mark(of: corpus) {
      throw Unusable(description: "the checkpoint is of a training on another text")
    }
    try network.load(self.network)
    try optimizer.load(self.optimizer)
  }

  /// A number that another text hardly has (Fowler, Noll and Vo's hash FNV-1a).
  private static func mark(of corpus: Corpus) -> String {
    let text = corpus.text(of: corpus.trained + corpus.heldOut)
    return
      "\(text.utf8.reduce(0xcbf2_9ce4_8422_2325 as UInt64) { ($0 ^ UInt64($1)) &* 0x100_0000_01b3 })"
  }
}
