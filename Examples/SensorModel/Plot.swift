// A picture as SVG that needs nothing else: no script, no font, no style sheet.

import Foundation

/// A series: what was read, what the filter says, how sure it is, and what is true.
struct Panel {
  let title: String
  /// Nil where nothing was read.
  let dots: [Double?]
  let line: [Double]
  let deviation: [Double]
  let truth: [Double]?

  /// The root of the mean square of what values differ from the truth, where there are both.
  func rootMeanSquare(of values: [Double?]) -> Double {
    let squares = zip(values, truth ?? []).compactMap { value, truth in
      value.map { ($0 - truth) * ($0 - truth) }
    }
    return (squares.reduce(0, +) / Double(squares.count)).squareRoot()
  }

  /// Which part of the truth is at most two deviations away from the line.
  var coverage: Double {
    let truth = truth ?? []
    let inside = truth.indices.count { abs(truth[$0] - line[$0]) <= 2 * deviation[$0] }
    return Double(inside) / Double(truth.count)
  }
}

/// Panels below each other, with one axis of time.
struct Plot {
  let title: String
  let panels: [Panel]

  private let width = 1000.0
  private let left = 64.0
  private let right = 24.0
  private let top = 86.0
  private let panelHeight = 210.0
  private let gap = 54.0
  /// Okabe and Ito's palette, which colour blindness leaves distinct.
  private let blue = "#0072B2"
  private let orange = "#D55E00"
  private let grey = "#8a8a8a"

  /// The whole picture.
  var text: String {
    let height = top + Double(panels.count) * (panelHeight + gap) + 24
    var body = label(left, 34, title, size: 18, color: "#111111", weight: "600") + legend(y: 60)
    for (i, panel) in panels.enumerated() {
      body += draw(panel, top: top + Double(i) * (panelHeight + gap) + 14)
    }
    body += label(
      (left + width - right) / 2, height - 12, "reading", color: "#333333", anchor: "middle")
    return """
      <svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 \(round(width)) \(round(height))" \
      width="\(round(width))" height="\(round(height))" font-family="system-ui, Helvetica, Arial, sans-serif">
      <rect width="100%" height="100%" fill="#ffffff"/>
      \(body)</svg>

      """
  }

  private func draw(_ panel: Panel, top: Double) -> String {
    let count = panel.line.count
    let high = zip(panel.line, panel.deviation).map { $0 + 2 * $1 }
    let low = zip(panel.line, panel.deviation).map { $0 - 2 * $1 }
    let all = high + low + panel.dots.compactMap { $0 } + (panel.truth ?? [])
    let margin = 0.04 * max(all.max()! - all.min()!, 1e-9)
    let (least, most) = (all.min()! - margin, all.max()! + margin)
    func x(_ t: Double) -> Double { left + t / Double(max(count - 1, 1)) * (width - left - right) }
    func y(_ value: Double) -> Double { top + (most - value) / (most - least) * panelHeight }
    func point(_ t: Int, _ value: Double) -> String { "\(round(x(Double(t)))),\(round(y(value)))" }
    func path(_ values: [Double]) -> String {
      values.enumerated().map { point($0, $1) }.joined(separator: " ")
    }

    var result = label(left, top - 8, panel.title, size: 13, color: "#111111", weight: "600")
    for silence in silences(panel.dots) {
      let (from, to) = (x(Double(silence.lowerBound) - 0.5), x(Double(silence.upperBound) - 0.5))
      result += rectangle(from, top, to - from, panelHeight, "#f1f1f1")
    }
    for tick in ticks(least, most, about: 5) {
      result += segment(left, y(tick), width - right, y(tick), "#e2e2e2")
      result += label(left - 8, y(tick) + 4, name(tick), color: "#555555", anchor: "end")
    }
    for tick in ticks(0, Double(count - 1), about: 10) {
      result += segment(x(tick), top + panelHeight, x(tick), top + panelHeight + 5, "#8a8a8a")
      result += label(
        x(tick), top + panelHeight + 19, name(tick), color: "#555555", anchor: "middle")
    }
    let band =
      path(high) + " " + low.indices.reversed().map { point($0, low[$0]) }.joined(separator: " ")
    result += "<polygon points=\"\(band)\" fill=\"\(blue)\" fill-opacity=\"0.2\"/>\n"
    for (t, dot) in panel.dots.enumerated() {
      guard let dot else { continue }
      result += circle(x(Double(t)), y(dot))
    }
    if let truth = panel.truth {
      result += polyline(path(truth), orange, width: 1.4, dash: "5 3")
    }
    result += polyline(path(panel.line), blue, width: 1.8)
    return result + segment(left, top + panelHeight, width - right, top + panelHeight, "#8a8a8a")
  }

  private func legend(y: Double) -> String {
    var result = circle(left + 12, y) + label(left + 28, y + 4, "reading", color: "#333333")
    result += polyline("\(left + 100),\(y) \(left + 124),\(y)", blue, width: 1.8)
    result += label(left + 132, y + 4, "filter", color: "#333333")
    result += "<g fill-opacity=\"0.2\">\(rectangle(left + 186, y - 6, 24, 12, blue))</g>"
    result += label(left + 218, y + 4, "2 sigma", color: "#333333")
    if panels.contains(where: { $0.truth != nil }) {
      result += polyline("\(left + 284),\(y) \(left + 308),\(y)", orange, width: 1.4, dash: "5 3")
      result += label(left + 316, y + 4, "truth", color: "#333333")
    }
    if panels.contains(where: { $0.dots.contains { $0 == nil } }) {
      result += rectangle(left + 366, y - 6, 24, 12, "#e6e6e6")
      result += label(left + 398, y + 4, "nothing was read", color: "#333333")
    }
    return result
  }

  /// The stretches without a reading.
  private func silences(_ dots: [Double?]) -> [Range<Int>] {
    var result: [Range<Int>] = []
    for t in dots.indices where dots[t] == nil {
      if let last = result.last, last.upperBound == t {
        result[result.count - 1] = last.lowerBound..<t + 1
      } else {
        result.append(t..<t + 1)
      }
    }
    return result
  }

  /// Round numbers between two numbers: multiples of 1, 2 or 5 times a power of ten.
  private func ticks(_ low: Double, _ high: Double, about count: Int) -> [Double] {
    let raw = max(high - low, 1e-12) / Double(count)
    let power = pow(10, floor(log10(raw)))
    let step = [1.0, 2, 5, 10].map { $0 * power }.first { $0 >= raw * 0.999 }!
    return Array(stride(from: ceil(low / step) * step, through: high, by: step))
  }

  // MARK: Shapes

  private func label(
    _ x: Double, _ y: Double, _ text: String, size: Int = 12, color: String,
    anchor: String = "start",
    weight: String = "400"
  ) -> String {
    let text = text.replacing("&", with: "&amp;").replacing("<", with: "&lt;")
    return "<text x=\"\(round(x))\" y=\"\(round(y))\" font-size=\"\(size)\" fill=\"\(color)\" "
      + "text-anchor=\"\(anchor)\" font-weight=\"\(weight)\">\(text)</text>\n"
  }

  private func polyline(_ points: String, _ color: String, width: Double, dash: String = "none")
    -> String
  {
    "<polyline points=\"\(points)\" fill=\"none\" stroke=\"\(color)\" stroke-width=\"\(width)\" "
      + "stroke-dasharray=\"\(dash)\" stroke-linejoin=\"round\"/>\n"
  }

  private func segment(_ x1: Double, _ y1: Double, _ x2: Double, _ y2: Double, _ color: String)
    -> String
  {
    polyline("\(round(x1)),\(round(y1)) \(round(x2)),\(round(y2))", color, width: 1)
  }

  private func rectangle(
    _ x: Double, _ y: Double, _ width: Double, _ height: Double, _ color: String
  ) -> String {
    "<rect x=\"\(round(x))\" y=\"\(round(y))\" width=\"\(round(width))\" height=\"\(round(height))\" "
      + "fill=\"\(color)\"/>\n"
  }

  private func circle(_ x: Double, _ y: Double) -> String {
    "<circle cx=\"\(round(x))\" cy=\"\(round(y))\" r=\"2.2\" fill=\"\(grey)\"/>\n"
  }

  /// A place with two digits behind the point.
  private func round(_ place: Double) -> String { String(format: "%.2f", place) }

  /// A tick's number, without an end of zeros.
  private func name(_ tick: Double) -> String { String(format: "%g", abs(tick) < 1e-9 ? 0 : tick) }
}
