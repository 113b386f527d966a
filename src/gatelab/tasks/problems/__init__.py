"""Problems with a known answer: adding, copy memory, delayed recall, digits pixel by pixel."""
