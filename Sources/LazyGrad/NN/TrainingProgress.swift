// One line that says how a training is doing.

import Dispatch
import Foundation

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#else
  import Darwin
#endif

/// Shows how far a training has come, on standard error: steps, loss, rate, and the time that is left.
///
///     let progress = TrainingProgress(steps: 1000)
///     for step in 0..<1000 {
///       let loss = optimizer.step { ... }
///       progress.update(loss: loss.item(), rate: optimizer.rate)
///     }
///     progress.finish()
///
///      420/1000  loss 0.03127  rate 0.0005  1.84 ms/step  0:01 left
///
/// On a terminal it is one line that is written anew, at most ten times a second, and cut at the terminal's
/// width. Elsewhere (a file, a pipe, a service) nothing is written, unless `logEvery` asks for a line every so
/// many steps.
public final class TrainingProgress {
  /// Where the line goes, and when it is: for tests.
  package struct Surroundings {
    package var isTerminal: Bool
    package var columns: () -> Int
    /// Seconds since any moment.
    package var now: () -> Double
    package var write: (String) -> Void

    package init(
      isTerminal: Bool, columns: @escaping () -> Int, now: @escaping () -> Double,
      write: @escaping (String) -> Void
    ) {
      (self.isTerminal, self.columns) = (isTerminal, columns)
      (self.now, self.write) = (now, write)
    }

    fileprivate static var standardError: Surroundings {
      Surroundings(
        isTerminal: isatty(STDERR_FILENO) == 1, columns: terminalColumns,
        now: { Double(DispatchTime.now().uptimeNanoseconds) / 1e9 },
        write: writeToStandardError)
    }
  }

  /// How many steps there will be; nil: that is not known.
  public let steps: Int?
  /// How many steps have been made.
  public private(set) var step: Int

  private let begun: Int
  private let logEvery: Int?
  private let surroundings: Surroundings
  private let start: Double
  private var shown = -Double.infinity
  private var line = ""
  private var isLineOpen = false

  /// Begins to show progress, and to measure time.
  ///
  /// - Parameters:
  ///   - steps: How many steps there will be; nil: that is not known, so neither is the time left.
  ///   - first: How many have been made already, by a training that this one resumes.
  ///   - logEvery: Where standard error is not a terminal, write a line every so many steps; nil: none.
  public convenience init(steps: Int?, from first: Int = 0, logEvery: Int? = nil) {
    self.init(steps: steps, from: first, logEvery: logEvery, .standardError)
  }

  package init(
    steps: Int?, from first: Int = 0, logEvery: Int? = nil, _ surroundings: Surroundings
  ) {
    (self.steps, step, begun) = (steps, first, first)
    self.logEvery = logEvery.map { max($0, 1) }
    self.surroundings = surroundings
    start = surroundings.now()
  }

  /// Notes that a step was made.
  ///
  /// - Parameters:
  ///   - loss: The loss. It is only asked for when it is written: `loss.item()` costs nothing otherwise.
  ///   - rate: The learning rate.
  public func update(loss: @autoclosure () -> Double? = nil, rate: Double? = nil) {
    step += 1
    let now = surroundings.now()
    let isLast = steps.map { step >= $0 } ?? false
    if surroundings.isTerminal {
      if !isLast, now - shown < 0.1 { return }
      shown = now
      line = text(loss(), rate, now)
      // The carriage return first: what the program prints in between begins behind the line.
      surroundings.write("\r\u{1B}[K" + line.prefix(max(surroundings.columns() - 1, 1)))
      isLineOpen = true
    } else if let logEvery, step % logEvery == 0 || isLast {
      surroundings.write(text(loss(), rate, now) + "\n")
    }
  }

  /// Ends the line, so that what is printed next begins a new one.
  public func finish() {
    if isLineOpen { surroundings.write("\n") }
    isLineOpen = false
  }

  deinit { finish() }

  private func text(_ loss: Double?, _ rate: Double?, _ now: Double) -> String {
    var parts = [steps.map { padded("\(step)", "\($0)".count) + "/\($0)" } ?? "step \(step)"]
    if let loss { parts.append("loss \(short(loss))") }
    if let rate { parts.append("rate \(short(rate))") }
    let made = step - begun
    if made > 0 {
      let each = (now - start) / Double(made)
      parts.append(each < 1 ? "\(short(each * 1e3, 3)) ms/step" : "\(short(each, 3)) s/step")
      if let steps {
        let left = max(steps - step, 0)
        parts.append(
          left > 0 ? "\(clock(each * Double(left))) left" : "\(clock(now - start)) in all")
      }
    }
    return parts.joined(separator: "  ")
  }

  private func padded(_ text: String, _ width: Int) -> String {
    String(repeating: " ", count: max(width - text.count, 0)) + text
  }

  /// A number with some digits.
  private func short(_ number: Double, _ digits: Int = 4) -> String {
    String(format: "%.\(digits)g", number)
  }

  /// Hours, minutes and seconds.
  private func clock(_ seconds: Double) -> String {
    if !(seconds < 1e9) { return "?" }
    let whole = Int(seconds.rounded())
    return whole < 3600
      ? String(format: "%d:%02d", whole / 60, whole % 60)
      : String(format: "%d:%02d:%02d", whole / 3600, whole / 60 % 60, whole % 60)
  }
}

private func writeToStandardError(_ text: String) {
  var rest = Array(text.utf8)[...]
  while !rest.isEmpty {
    let written = rest.withUnsafeBytes { write(STDERR_FILENO, $0.baseAddress, $0.count) }
    // Progress is not worth an error.
    if written <= 0 { return }
    rest = rest.dropFirst(written)
  }
}

/// The width of the terminal, 80 where it is not known.
private func terminalColumns() -> Int {
  var size = winsize()
  return ioctl(STDERR_FILENO, UInt(TIOCGWINSZ), &size) == 0 && size.ws_col > 0
    ? Int(size.ws_col) : 80
}
