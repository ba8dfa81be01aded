// The command line of SensorModel, and the record that it names.

import Foundation
import LazyGrad

/// What a run is to do.
struct Options {
  static let usage = """
    usage: SensorModel [record.npz] [option value]...
      record.npz   readings [T, 2], not-a-number where nothing was read; if the truth is known, states [T, 2]
                   and the five parameters
      --svg FILE   draws a picture
      --period X   about how many readings a swing takes (30)
      --steps N    how many steps the fit makes at most (100)
    """

  var record: String?
  var svg: String?
  var period = 30.0
  var steps = 100

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
      case "--svg": svg = value()
      case "--period": period = number(3...1_000_000)
      case "--steps": steps = number(1...10_000)
      default:
        if name.hasPrefix("-") || record != nil {
          stop("unexpected argument '\(name)'; --help says what there is")
        }
        record = name
      }
    }
  }
}

/// What was read, and what is known of it.
struct Record {
  /// What is wrong with a file.
  struct Unusable: Error, CustomStringConvertible {
    let description: String
  }

  /// Position and velocity; nil where a sensor was silent.
  let readings: [[Double]?]
  let states: [[Double]]?
  let parameters: [Double]?

  /// The file of the options, or the simulated one that `make_readings.py` makes.
  init(_ options: Options) throws {
    let archive =
      if let file = options.record { try NPZArchive(file) } else {
        try NPZArchive(bytes: PackageResources.readings_npz, name: "readings.npz")
      }
    func pairs(_ name: String) throws -> [[Double]] {
      let array = try archive.array(name)
      if array.rank != 2 || array.shape[1] != 2 {
        throw Unusable(description: "\(name): expected the shape [T, 2], got \(array.shape)")
      }
      let values = array.elements(as: Double.self)
      return stride(from: 0, to: values.count, by: 2).map { [values[$0], values[$0 + 1]] }
    }
    readings = try pairs("readings").map { $0.contains(where: \.isNaN) ? nil : $0 }
    let read = readings.compactMap { $0 }
    if read.count < 20 || !read.allSatisfy({ $0.allSatisfy(\.isFinite) }) {
      throw Unusable(
        description: "readings: expected 20 or more that are finite, got \(read.count)")
    }
    states = archive.names.contains("states") ? try pairs("states") : nil
    if let states, states.count != readings.count {
      throw Unusable(
        description:
          "states: expected one for each of \(readings.count) readings, got \(states.count)")
    }
    parameters =
      archive.names.contains("parameters")
      ? try archive.array("parameters").elements(as: Double.self) : nil
    if let parameters, parameters.count != Oscillator.names.count {
      throw Unusable(
        description: "parameters: expected \(Oscillator.names.count), got \(parameters.count)")
    }
  }
}

/// Writes a line that is no result.
func note(_ message: String) {
  FileHandle.standardError.write(Data("SensorModel: \(message)\n".utf8))
}

/// Ends the program with one line that says why.
func stop(_ message: String, status: Int32 = 2) -> Never {
  note(message)
  exit(status)
}
