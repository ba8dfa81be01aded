// The text that is learned, as numbers.

import Foundation
import LazyGrad

/// A text as numbers; its last tenth is not trained on.
struct Corpus {
  let name: String
  /// The characters that there are, in the order of their numbers.
  let vocabulary: [Character]
  let trained: [Int]
  let heldOut: [Int]
  private let numbers: [Character: Int]

  var count: Int { trained.count + heldOut.count }

  /// The file of the options, or what comes with the program: Shakespeare, Romeo and Juliet, up to the third
  /// act's second scene.
  init(_ options: Options) throws {
    var text = String(decoding: PackageResources.romeo_txt, as: UTF8.self)
    if let file = options.text {
      let bytes: Data
      do { bytes = try Data(contentsOf: URL(filePath: file)) } catch {
        throw Unusable(description: "can't read '\(file)': \(error.localizedDescription)")
      }
      guard let read = String(validating: bytes, as: UTF8.self) else {
        throw Unusable(description: "'\(file)': expected a text in UTF-8")
      }
      text = read
    }
    name = options.text ?? "Romeo and Juliet"
    vocabulary = Set(text).sorted()
    numbers = Dictionary(uniqueKeysWithValues: zip(vocabulary, 0...))
    let codes = text.map { [numbers] in numbers[$0]! }
    let needed = options.streams * (options.length + 1)
    trained = Array(codes.prefix(codes.count * 9 / 10))
    heldOut = Array(codes.suffix(codes.count - trained.count))
    if trained.count < needed || heldOut.count < 2 {
      throw Unusable(
        description: "'\(name)': expected \(needed * 10 / 9 + 2) characters or more for "
          + "\(options.streams) streams of \(options.length), got \(codes.count)")
    }
    if options.prompt.isEmpty { stop("--prompt: expected some text") }
    if let unknown = options.prompt.first(where: { [numbers] in numbers[$0] == nil }) {
      stop("--prompt: '\(unknown)' does not occur in '\(name)'")
    }
  }

  /// What a step reads. The streams are equal parts of the text, side by side, each read from its begin to
  /// its end, and then again.
  ///
  /// - Parameter own: The streams that are wanted.
  /// - Returns: The characters `[length, streams]`, those that follow them, and whether the streams have
  ///   just begun.
  func batch(
    _ step: Int, length: Int, streams: Int, own: Range<Int>
  ) -> (characters: NDArray, targets: NDArray, isStart: Bool) {
    let part = trained.count / streams
    let batches = (part - 1) / length
    let start = step % batches * length
    func characters(from start: Int) -> NDArray {
      let codes = (start..<start + length).flatMap { place in
        own.map { trained[$0 * part + place] }
      }
      return NDArray(codes, shape: [length, own.count])
    }
    return (characters(from: start), characters(from: start + 1), step % batches == 0)
  }

  /// The numbers of characters that are all known.
  func codes(of text: String) -> [Int] { text.map { numbers[$0]! } }

  func text(of codes: [Int]) -> String { String(codes.map { vocabulary[$0] }) }

  /// What one character tells, in nats, to somebody who only knows how often each occurs.
  var entropy: Double {
    let counts = Dictionary(grouping: trained + heldOut) { $0 }.values.map { Double($0.count) }
    return counts.sorted().reduce(0) { $0 - $1 / Double(count) * log($1 / Double(count)) }
  }
}
