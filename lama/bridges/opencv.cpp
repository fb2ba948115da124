// Remove an object with OpenCV's own network module, in C++: the calls of opencv.py. Needs OpenCV 5.
//
//   lama export format=onnx out=lama.onnx
//   g++ -O2 opencv.cpp $(pkg-config --cflags --libs-only-L opencv5) -lopencv_dnn -lopencv_imgcodecs -lopencv_core -o remove
//   ./remove lama.onnx photo.jpg mask.png result.png

#include <opencv2/core.hpp>
#include <opencv2/dnn.hpp>
#include <opencv2/imgcodecs.hpp>

#include <fstream>
#include <iostream>
#include <string>
#include <vector>

// image: 8 bits, BGR. mask: 8 bits, one channel, above 0 = hole. Returns the image with its hole filled.
cv::Mat remove_object(cv::dnn::Net& network, const cv::Mat& image, const cv::Mat& mask) {
    network.setInput(cv::dnn::blobFromImage(image, 1.0 / 255, cv::Size(), cv::Scalar(), true), "image");
    network.setInput(cv::dnn::blobFromImage(mask), "mask");
    std::vector<cv::Mat> completed;  // one picture, float32, RGB in [0, 1]
    cv::dnn::imagesFromBlob(network.forward("completed"), completed);
    std::vector<cv::Mat> planes;
    cv::split(completed[0] * 255, planes);
    std::swap(planes[0], planes[2]);
    cv::Mat bgr, filled, result = image.clone();
    cv::merge(planes, bgr);
    bgr.convertTo(filled, CV_8U);  // rounds, and clips to 0..255
    filled.copyTo(result, mask > 0);
    return result;
}

int main(int count, char** arguments) try {
    if (count != 5) {
        std::cerr << "usage: " << arguments[0] << " lama.onnx photo.jpg mask.png result.png\n";
        return 2;
    }
    const cv::Mat image = cv::imread(arguments[2], cv::IMREAD_COLOR);
    const cv::Mat mask = cv::imread(arguments[3], cv::IMREAD_GRAYSCALE);
    if (image.empty() || mask.empty() || image.size() != mask.size()) {
        std::cerr << "error: expected a photograph and a mask of equal sizes, got " << image.size() << " and "
                  << mask.size() << "\n";
        return 1;
    }
    if (!std::ifstream(arguments[1])) {
        std::cerr << "error: " << arguments[1] << ": no such file\n";
        return 1;
    }
    cv::dnn::Net network = cv::dnn::readNetFromONNX(std::string(arguments[1]));
    if (!cv::imwrite(arguments[4], remove_object(network, image, mask))) {
        std::cerr << "error: " << arguments[4] << ": cannot be written\n";
        return 1;
    }
    std::cout << "written: " << arguments[4] << "\n";
    return 0;
} catch (const cv::Exception& error) {
    std::cerr << "error: OpenCV: " << error.err << "\n";
    return 1;
}
