// The command line of Digits.

import Foundation

/// What a run is to do.
struct Options {
  /// The two ways of reading.
  enum Network: String, CaseIterable {
    case rnn, cnn
  }

  static let usage = """
    usage: Digits [option value]...
      --network NAME   rnn or cnn; both if it isn't said
      --epochs N       how often each image is trained on (100 by the rnn, 30 by the cnn)
      --seed N         which weights the networks begin with, and in which order they see the images (1)
    """

  var networks = Network.allCases
  var epochs: [Network: Int] = [.rnn: 100, .cnn: 30]
  var seed: UInt64 = 1

  init(_ arguments: [String]) {
    var rest = arguments.dropFirst()
    while let name = rest.popFirst() {
      func value() -> String {
        rest.popFirst() ?? { stop("\(name): expected a value behind it") }()
      }
      func number<N: LosslessStringConvertible & Comparable>(_ range: ClosedRange<N>) -> N {
        let text = value()
        if let number = N(text), range.contains(number) { return number }
        stop(
          "\(name): expected a number from \(range.lowerBound) to \(range.upperBound), got '\(text)'"
        )
      }
      switch name {
      case "--help": print(Self.usage); exit(0)
      case "--network":
        let text = value()
        guard let network = Network(rawValue: text) else {
          stop("--network: expected rnn or cnn, got '\(text)'")
        }
        networks = [network]
      case "--epochs":
        let count = number(1...10_000)
        for network in Network.allCases { epochs[network] = count }
      case "--seed": seed = number(0...UInt64.max)
      default: stop("unexpected argument '\(name)'; --help says what there is")
      }
    }
  }
}

/// Writes a line that is no result.
func note(_ message: String) {
  FileHandle.standardError.write(Data("Digits: \(message)\n".utf8))
}

/// Ends the program with one line that says why.
func stop(_ message: String, status: Int32 = 2) -> Never {
  note(message)
  exit(status)
}
