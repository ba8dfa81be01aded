// The text that the language model learns: loading, checking, encoding as numbers. Uses nothing of
// LazyGrad.

import Foundation

/// A text as numbers, with the characters that they stand for.
///
/// The vocabulary holds at most 256 characters (in Swift's sense, so an accented letter is one). Of
/// a text with more, the rarest share one symbol.
struct TextCorpus {
  static let vocabularyLimit = 256
  private static let other: Character = "\u{FFFD}"

  let name: String
  let codes: [Int]
  let vocabulary: [Character]

  /// The mean information of one character in nats when only the characters' frequencies are known:
  /// what a model scores that has not learned anything from context.
  var unigramEntropy: Double {
    var counts = Array(repeating: 0, count: vocabulary.count)
    for code in codes { counts[code] += 1 }
    let total = Double(codes.count)
    return counts.reduce(0) { sum, count in
      let share = Double(count) / total
      return count == 0 ? sum : sum - share * log(share)
    }
  }

  /// Reads a file, or takes the built-in text. The text must fill one training step.
  static func load(path: String?, length: Int, batch: Int) throws(BenchError) -> TextCorpus {
    let corpus: TextCorpus
    if let path {
      corpus = TextCorpus(name: path, text: try read(path))
    } else {
      let text = String(decoding: PackageResources.sample_txt, as: UTF8.self)
      corpus = TextCorpus(name: "built-in guide", text: text)
    }
    let needed = (length + 1) * batch
    guard corpus.codes.count >= needed else {
      throw .file(
        "text '\(corpus.name)' is too short: it has \(corpus.codes.count) characters, length"
          + " \(length) and batch \(batch) need \(needed)")
    }
    return corpus
  }

  private static func read(_ path: String) throws(BenchError) -> String {
    var isDirectory: ObjCBool = false
    guard FileManager.default.fileExists(atPath: path, isDirectory: &isDirectory) else {
      throw .file("cannot read '\(path)': no such file")
    }
    var information = stat()
    // A device or a pipe may never end.
    guard stat(path, &information) == 0, information.st_mode & S_IFMT == S_IFREG else {
      let reason = isDirectory.boolValue ? "it is a directory" : "not a regular file"
      throw .file("cannot read '\(path)': \(reason)")
    }
    let data: Data
    do {
      data = try Data(contentsOf: URL(fileURLWithPath: path))
    } catch {
      throw .file("cannot read '\(path)': \(error.localizedDescription)")
    }
    if data.isEmpty { throw .file("text '\(path)' is empty") }
    guard let text = String(validating: data, as: UTF8.self) else {
      throw .file("text '\(path)' is not UTF-8")
    }
    return text
  }

  private init(name: String, text: String) {
    var counts: [Character: Int] = [:]
    for character in text { counts[character, default: 0] += 1 }
    // Ties are broken by the character itself, so the codes do not depend on hashing.
    var kept = counts.keys.sorted { (counts[$0]!, $1) > (counts[$1]!, $0) }
    if kept.count > Self.vocabularyLimit {
      kept = kept.prefix(Self.vocabularyLimit).filter { $0 != Self.other }
      kept = kept.prefix(Self.vocabularyLimit - 1) + [Self.other]
    }
    vocabulary = kept.sorted()
    let codeOf = Dictionary(uniqueKeysWithValues: vocabulary.enumerated().map { ($1, $0) })
    codes = text.map { codeOf[$0] ?? codeOf[Self.other]! }
    self.name = name
  }

  /// The text of some codes.
  func text(_ codes: [Int]) -> String { String(codes.map { vocabulary[$0] }) }
}

/// Walks through a corpus in parallel streams, each a contiguous part of the text.
///
///     text     |------ stream 0 ------|------ stream 1 ------|------ stream 2 ------|
///     step 0    TTTT                   TTTT                   TTTT
///     step 1        TTTT                   TTTT                   TTTT
///
/// A hidden state carried from step to step has therefore always seen what stands just before.
struct TextStreams {
  private let corpus: TextCorpus
  private let length: Int
  private let batch: Int
  private let streamLength: Int
  private var position = 0

  init(_ corpus: TextCorpus, length: Int, batch: Int) {
    self.corpus = corpus
    self.length = length
    self.batch = batch
    streamLength = corpus.codes.count / batch
  }

  /// The next characters of every stream and the ones that follow them, time step by time step:
  /// element `t * batch + s` belongs to step t of stream s. `isRestart` says that the streams have
  /// begun anew, so a carried state no longer fits.
  mutating func next() -> (inputs: [Int], targets: [Int], isRestart: Bool) {
    if position + length + 1 > streamLength { position = 0 }
    defer { position += length }
    var inputs: [Int] = []
    var targets: [Int] = []
    for step in position..<(position + length) {
      for stream in 0..<batch {
        inputs.append(corpus.codes[stream * streamLength + step])
        targets.append(corpus.codes[stream * streamLength + step + 1])
      }
    }
    return (inputs, targets, position == 0)
  }
}
